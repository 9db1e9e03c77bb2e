"""Asking the staff, step by step."""

from typing import Any

from langgraph.graph import END, START, StateGraph

from graphs.request_notification.nodes import RequestNodes
from graphs.request_notification.state import RequestGiven, RequestState


def build(nodes: RequestNodes) -> StateGraph[RequestState, Any, RequestGiven, RequestState]:
    """The graph, not compiled: whoever runs it brings the checkpointer."""
    graph = StateGraph(RequestState, input_schema=RequestGiven)
    graph.add_node("validate", nodes.validate)
    graph.add_node("create_document", nodes.create_document)
    graph.add_node("complete_record", nodes.complete_record)
    graph.add_node("write_instruction", nodes.write_instruction)
    graph.add_node("send_campaign", nodes.send_campaign)
    graph.add_node("persist_recipients", nodes.persist_recipients)

    graph.add_edge(START, "validate")
    graph.add_edge("validate", "create_document")
    graph.add_edge("create_document", "complete_record")
    graph.add_edge("complete_record", "write_instruction")
    graph.add_edge("write_instruction", "send_campaign")
    graph.add_edge("send_campaign", "persist_recipients")
    graph.add_edge("persist_recipients", END)
    return graph

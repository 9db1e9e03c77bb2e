"""Asking the staff, step by step."""

from typing import Any

from langgraph.graph import END, START, StateGraph

from graphs.request_notification.nodes import RequestNodes
from graphs.request_notification.state import RequestGiven, RequestState


def build(nodes: RequestNodes) -> StateGraph[RequestState, Any, RequestGiven, RequestState]:
    """The graph, not compiled: whoever runs it brings the checkpointer."""
    graph = StateGraph(RequestState, input_schema=RequestGiven)
    graph.add_node("validate", nodes.validate)
    graph.add_node("find_same", nodes.find_same)
    graph.add_node("join", nodes.join)
    graph.add_node("create_document", nodes.create_document)
    graph.add_node("classify", nodes.classify)
    graph.add_node("complete_record", nodes.complete_record)
    graph.add_node("write_instruction", nodes.write_instruction)
    graph.add_node("send_campaign", nodes.send_campaign)
    graph.add_node("tell_customer", nodes.tell_customer)
    graph.add_node("persist_recipients", nodes.persist_recipients)

    graph.add_edge(START, "validate")
    graph.add_conditional_edges("validate", nodes.by_type, {"question": "find_same", "support": "classify"})
    graph.add_conditional_edges("find_same", nodes.by_same, {"join": "join", "ask": "create_document"})
    graph.add_conditional_edges("join", nodes.by_joined, {"joined": END, "ask": "create_document"})
    graph.add_edge("create_document", "complete_record")
    graph.add_edge("classify", "complete_record")
    graph.add_edge("complete_record", "write_instruction")
    graph.add_edge("write_instruction", "send_campaign")
    graph.add_conditional_edges(
        "send_campaign", nodes.by_recipients, {"asked": "persist_recipients", "nobody": "tell_customer"}
    )
    graph.add_edge("tell_customer", "persist_recipients")
    graph.add_edge("persist_recipients", END)
    return graph

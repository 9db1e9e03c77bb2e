"""Taking an answer back to the customer, step by step."""

from typing import Any

from langgraph.graph import END, START, StateGraph

from graphs.answer_notification.nodes import AnswerNodes
from graphs.answer_notification.state import AnswerGiven, AnswerState


def build(nodes: AnswerNodes) -> StateGraph[AnswerState, Any, AnswerGiven, AnswerState]:
    """The graph, not compiled: whoever runs it brings the checkpointer."""
    graph = StateGraph(AnswerState, input_schema=AnswerGiven)
    graph.add_node("validate", nodes.validate)
    graph.add_node("load", nodes.load)
    graph.add_node("update_document", nodes.update_document)
    graph.add_node("check_window", nodes.check_window)
    graph.add_node("write_reply", nodes.write_reply)
    graph.add_node("localise", nodes.localise)
    graph.add_node("send_answer", nodes.send_answer)
    graph.add_node("notify_others", nodes.notify_others)
    graph.add_node("mark_answered", nodes.mark_answered)

    graph.add_edge(START, "validate")
    graph.add_edge("validate", "load")
    graph.add_conditional_edges("load", nodes.by_work, {"update_document": "update_document", "end": END})
    graph.add_edge("update_document", "check_window")
    graph.add_conditional_edges("check_window", nodes.by_window, {"write_reply": "write_reply", "localise": "localise"})
    graph.add_edge("write_reply", "send_answer")
    graph.add_edge("localise", "send_answer")
    graph.add_edge("send_answer", "notify_others")
    graph.add_edge("notify_others", "mark_answered")
    graph.add_edge("mark_answered", END)
    return graph

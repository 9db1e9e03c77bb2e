"""One turn of a conversation, with a customer or with the staff."""

from collections.abc import Hashable
from typing import Any

from langgraph.graph import END, START, StateGraph

from graphs.conversation.nodes import ConversationNodes
from graphs.conversation.state import ConversationState, GivenState


def build(nodes: ConversationNodes) -> StateGraph[ConversationState, Any, GivenState, ConversationState]:
    """The graph, not compiled: whoever runs it brings the checkpointer."""
    graph = StateGraph(ConversationState, input_schema=GivenState)
    graph.add_node("load", nodes.load)
    graph.add_node("customer_agent", nodes.customer_agent)
    graph.add_node("customer_tools", nodes.run_tools)
    graph.add_node("staff_agent", nodes.staff_agent)
    graph.add_node("staff_tools", nodes.run_tools)
    graph.add_node("finish", nodes.finish)
    graph.add_node("summarise", nodes.summarise)

    customer: dict[Hashable, str] = {"tools": "customer_tools", "again": "customer_agent", "finish": "finish"}
    staff: dict[Hashable, str] = {"tools": "staff_tools", "again": "staff_agent", "finish": "finish"}

    graph.add_edge(START, "load")
    graph.add_conditional_edges(
        "load", nodes.who, {"customer_agent": "customer_agent", "staff_agent": "staff_agent", "silent": END}
    )
    graph.add_conditional_edges("customer_agent", nodes.after_agent, customer)
    graph.add_conditional_edges("customer_tools", nodes.after_tools, customer)
    graph.add_conditional_edges("staff_agent", nodes.after_agent, staff)
    graph.add_conditional_edges("staff_tools", nodes.after_tools, staff)
    graph.add_conditional_edges("finish", nodes.after_finish, {"summarise": "summarise", "end": END})
    graph.add_edge("summarise", END)
    return graph

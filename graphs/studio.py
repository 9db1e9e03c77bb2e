"""The graphs for LangGraph Studio, built on local services. The Studio server brings its own checkpointer."""

import graphs.answer_notification.graph as answer_notification_graph
import graphs.conversation.graph as conversation_graph
import graphs.request_notification.graph as request_notification_graph
from recado.bootstrap import make_services
from recado.settings import get_settings

# The Studio server forbids blocking calls in its event loop, however short.
services = make_services(get_settings(), in_place=False)

conversation = conversation_graph.build(services.conversation_nodes()).compile()
request_notification = request_notification_graph.build(services.request_nodes()).compile()
answer_notification = answer_notification_graph.build(services.answer_nodes()).compile()

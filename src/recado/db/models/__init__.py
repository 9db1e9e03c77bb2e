"""All tables, in one place for imports and migrations."""

from recado.db.models.conversations import PENDING_MESSAGE, UNSENT_DELIVERY, Contact, Conversation, Delivery, Message
from recado.db.models.knowledge import UNFINISHED_NOTIFICATION, Document, Notification
from recado.db.models.merchants import ChannelAccount, Merchant, MerchantUser
from recado.db.models.simulator import SimulatorClock, SimulatorMessage
from recado.db.models.turns import RECEIVED_EVENT, RUNNING_TURN, InboxEvent, Turn

__all__ = [
    "PENDING_MESSAGE",
    "RECEIVED_EVENT",
    "RUNNING_TURN",
    "UNFINISHED_NOTIFICATION",
    "UNSENT_DELIVERY",
    "ChannelAccount",
    "Contact",
    "Conversation",
    "Delivery",
    "Document",
    "InboxEvent",
    "Merchant",
    "MerchantUser",
    "Message",
    "Notification",
    "SimulatorClock",
    "SimulatorMessage",
    "Turn",
]

"""All tables, in one place for imports and migrations."""

from recado.db.models.conversations import Contact, Conversation, Delivery, Message
from recado.db.models.knowledge import Document, Notification
from recado.db.models.merchants import ChannelAccount, Merchant, MerchantUser
from recado.db.models.simulator import SimulatorClock, SimulatorMessage
from recado.db.models.turns import InboxEvent, Turn

__all__ = [
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

"""All tables, in one place for imports and migrations."""

from recado.db.models.alerts import OPEN_ALERT, UNCOUNTED, UNSENT_POST, Alert, AlertIssue, AlertOccurrence, AlertPost
from recado.db.models.campaigns import Campaign, CampaignLead
from recado.db.models.conversations import (
    HELD_DELIVERY,
    PENDING_MESSAGE,
    UNSENT_DELIVERY,
    Contact,
    Conversation,
    Delivery,
    MediaFile,
    Message,
)
from recado.db.models.knowledge import (
    ANSWERING_DOCUMENT,
    OPEN_NOTIFICATION,
    UNFINISHED_NOTIFICATION,
    WAITING_NOTIFICATION,
    YAML_SOURCE,
    Document,
    Notification,
    SupportClassification,
)
from recado.db.models.limits import NewRecipient, SendLimit
from recado.db.models.merchants import ApiKey, ChannelAccount, LinkCode, Merchant, MerchantUser, StaffLink
from recado.db.models.simulator import SimulatorClock, SimulatorMessage
from recado.db.models.sync import PENDING_SYNC, SyncEntry, SyncSession
from recado.db.models.turns import RECEIVED_EVENT, ROUTING_EVENT, RUNNING_TURN, InboxEvent, Turn

__all__ = [
    "ANSWERING_DOCUMENT",
    "HELD_DELIVERY",
    "OPEN_ALERT",
    "OPEN_NOTIFICATION",
    "PENDING_MESSAGE",
    "PENDING_SYNC",
    "RECEIVED_EVENT",
    "ROUTING_EVENT",
    "RUNNING_TURN",
    "UNCOUNTED",
    "UNFINISHED_NOTIFICATION",
    "UNSENT_DELIVERY",
    "UNSENT_POST",
    "WAITING_NOTIFICATION",
    "YAML_SOURCE",
    "Alert",
    "AlertIssue",
    "AlertOccurrence",
    "AlertPost",
    "ApiKey",
    "Campaign",
    "CampaignLead",
    "ChannelAccount",
    "Contact",
    "Conversation",
    "Delivery",
    "Document",
    "InboxEvent",
    "LinkCode",
    "MediaFile",
    "Merchant",
    "MerchantUser",
    "Message",
    "NewRecipient",
    "Notification",
    "SendLimit",
    "SimulatorClock",
    "SimulatorMessage",
    "StaffLink",
    "SupportClassification",
    "SyncEntry",
    "SyncSession",
    "Turn",
]

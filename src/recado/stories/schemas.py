"""A message's story, as the API gives it and `recado trace` prints it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "received",
    "file",
    "waiting",
    "turn",
    "step",
    "tool",
    "model",
    "said",
    "delivery",
    "status",
    "notification",
    "sync",
    "alert",
]

EXAMPLE: dict[str, Any] = {
    "message_id": 12,
    "merchant": "bodega-sol",
    "conversation_id": 3,
    "channel": "twilio",
    "person": "the customer (+51…11)",
    "role": "user",
    "kind": "text",
    "outcome": "turn 7 answered after 1.9 s; NOTIF_4 waits for the staff",
    "began_at": "2026-05-01T12:00:00Z",
    "ended_at": "2026-05-01T12:00:04.210000Z",
    "trace_ids": ["5f2b9c0d6a1e4f738899aabbccddeeff"],
    "links": {"conversation": "https://shop.example.com/whatsapp/messages?conversationId=3"},
    "moments": [
        {
            "at": "2026-05-01T12:00:00Z",
            "seconds": 0.0,
            "chapter": "message 12 from the customer (+51…11)",
            "kind": "received",
            "what": "text, 38 characters",
            "ms": None,
            "failed": False,
            "ids": {"message_id": 12, "conversation_id": 3, "event_id": 40},
            "facts": {},
            "text": None,
            "links": {},
        },
        {
            "at": "2026-05-01T12:00:01.310000Z",
            "seconds": 1.31,
            "chapter": "turn 7",
            "kind": "model",
            "what": "customer: gpt-4.1, 812 tokens in, 41 out, $0.001952",
            "ms": 540.2,
            "failed": False,
            "ids": {"turn_id": 7},
            "facts": {"task": "customer", "model": "gpt-4.1", "tokens_in": 812, "tokens_out": 41, "cost": 0.001952},
            "text": None,
            "links": {},
        },
    ],
    "left_out": 0,
}


class Moment(BaseModel):
    """One thing that happened. `what` says it in a line; `facts` are the same figures for programs."""

    at: datetime
    seconds: float = Field(0.0, description="Since the story began")
    chapter: str = Field(description="What it is part of: a message, a turn, a notification")
    kind: Kind
    what: str
    ms: float | None = Field(
        None, description="How long it took, in milliseconds; null: it took no time, or it is not known"
    )
    failed: bool = False
    ids: dict[str, int] = Field(default_factory=dict, description="message_id, turn_id, delivery_id, event_id, …")
    facts: dict[str, Any] = Field(default_factory=dict)
    text: str | None = Field(None, description="What was written; null unless texts were asked for")
    links: dict[str, str] = Field(default_factory=dict, description="Where to look further: logs, trace, issue")


class Story(BaseModel):
    """What happened to a message, what caused it, and what it caused.

    The moments are one list. Those of a chapter stand together, in the order of time; chapters stand in the order in
    which they begin. Phone numbers are masked and texts left out unless they were asked for.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    message_id: int
    merchant: str = Field(description="Its sub_domain")
    conversation_id: int
    channel: str
    person: str = Field(description="Whose conversation it is in")
    role: str = Field(
        description="`user`: from the person; `response` and `admin`: to them; `assistant`: for the agent"
    )
    kind: str
    outcome: str = Field(description="How it stands now, in a line")
    began_at: datetime
    ended_at: datetime
    trace_ids: list[str] = Field(description="32 hex digits each, that of the message first")
    links: dict[str, str] = Field(
        default_factory=dict, description="conversation, trace and logs, where they are set up"
    )
    moments: list[Moment]
    left_out: int = Field(0, description="How many messages are not told, because there are too many")

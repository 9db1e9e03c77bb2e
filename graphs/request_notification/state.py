"""The state of asking the staff. Plain data only."""

from typing import Any

from typing_extensions import TypedDict  # Pydantic, and so Studio's schemas, need this one before Python 3.12

from recado.notifications.schemas import Classification, OpenQuestion


class RequestGiven(TypedDict, total=False):
    """What a run is given: the notification that was written down, or, in Studio, what to ask."""

    run_key: str
    notification_id: int
    merchant_id: int
    notification_type: str
    conversation_id: int
    context: dict[str, Any]
    answer_schema: dict[str, Any]
    lead_phone: str
    lead_name: str | None


class RequestState(RequestGiven, total=False):
    """Given, then what the steps found and made."""

    to_compare: list[OpenQuestion]
    same_as: int | None
    """The open question that asks the same."""
    joined_to_id: int | None
    classification: Classification
    document_id: int
    instruction: str
    contact_ids: list[int]
    asked_conversation_ids: list[int]
    problem: str | None
    """Why nobody could be asked."""

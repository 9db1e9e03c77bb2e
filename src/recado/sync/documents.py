"""What the conversation API tells of a conversation, read leniently.

Every field may be missing. One of the wrong type counts as missing; unknown ones are kept.
"""

from collections.abc import KeysView
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.alias_generators import to_camel
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from recado.sync.values import as_moment, present

ROLES = ("user", "bot")
"""Who speaks, as the API knows it."""
PREVIOUS_MESSAGES = 20
"""So many of the last messages does it keep."""

T = TypeVar("T")


def _or_absent(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except (ValidationError, OverflowError):
        return None


def _or_empty(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return _or_absent(value, validate) or {}


def _or_true(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    return _or_absent(value, validate) is not False


def _aware(value: Any) -> Any:
    # A number would be taken for seconds since 1970; the API never sends one.
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return _aware(datetime.fromisoformat(value)) if isinstance(value, str) else None


Lenient = Annotated[T | None, WrapValidator(_or_absent)]
Object = Annotated[dict[str, Any], WrapValidator(_or_empty)]
Moment = Annotated[datetime | None, BeforeValidator(_aware), WrapValidator(_or_absent)]


class _Document(BaseModel):
    """Attributes in snake case; by their names on the wire, readable like a mapping."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow", frozen=True)

    def __getitem__(self, name: str) -> Any:
        """The field `name` of the wire (`sessionId`). Raises KeyError where the API did not send it."""
        return self._wire()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._wire()

    def get(self, name: str, default: Any = None) -> Any:
        """The field `name` of the wire, or `default`."""
        return self._wire().get(name, default)

    def keys(self) -> KeysView[str]:
        """The wire names of what the API sent: with it, `dict(document)` is the document as it came."""
        return self._wire().keys()

    def _wire(self) -> dict[str, Any]:
        fields = type(self).model_fields
        known = {fields[name].alias or name: getattr(self, name) for name in fields if name in self.model_fields_set}
        sent = present(known)
        plain = {name: as_moment(value) if isinstance(value, datetime) else value for name, value in sent.items()}
        return {**(self.model_extra or {}), **plain}


class TenantInfo(_Document):
    """Whose customer a phone number is, and in which session: `info["subDomain"]`, or `info.sub_domain`."""

    sub_domain: Lenient[str] = None
    bot_id: Lenient[str] = None
    session_id: Lenient[str] = None
    is_active: Annotated[bool, WrapValidator(_or_true)] = True


class ConversationDocument(_Document):
    """A conversation as the API has it. `context` and `metadata` are in its own keys."""

    session_id: Lenient[str] = None
    sub_domain: Lenient[str] = None
    bot_id: Lenient[str] = None
    local_id: Lenient[str] = None
    user_phone: Lenient[str] = None
    current_intent: Lenient[str] = None
    current_step: Lenient[str] = None
    context: Object = Field(default_factory=dict)
    metadata: Object = Field(default_factory=dict)
    is_active: Annotated[bool, WrapValidator(_or_true)] = True
    last_activity: Moment = None
    expires_at: Moment = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Those that it keeps, the oldest first: {role (user or bot), content, timestamp (ISO 8601, or None)}."""
        return previous_messages(self.context)


def previous_messages(context: dict[str, Any]) -> list[dict[str, Any]]:
    """The valid ones of a context's `previousMessages`: {role, content, timestamp}."""
    found = context.get("previousMessages")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return [
        {"role": row["role"], "content": row["content"], "timestamp": _text(row.get("timestamp"))}
        for row in rows
        if row.get("role") in ROLES and isinstance(row.get("content"), str)
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None

"""What a notification for Discord holds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from recado.alerts.conditions import SeverityLevel
from recado.alerts.fitting import one_line, plain, web_url
from recado.alerts.wording import aware

MOST = 10**12
"""No count is higher, and no id."""
BRIGHTEST = 0xFFFFFF


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return plain(value or "")
    return str(_number(value)) if isinstance(value, int | float) else ""


def _line(value: Any) -> str:
    return one_line(_text(value))


def _url(value: Any) -> str | None:
    return web_url(value) if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    if isinstance(value, str):
        value = int(value.strip()[:20]) if value.strip().isdecimal() else None
    if not isinstance(value, int | float) or value != value:
        return None
    return int(min(max(value, -MOST), MOST))


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number < 0 else number


def _color(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else min(max(number, 0), BRIGHTEST)


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return aware(moment) if isinstance(moment, datetime) else None


def _fields(value: Any) -> dict[str, str]:
    found = {_line(name): _text(text) for name, text in value.items()} if isinstance(value, Mapping) else {}
    return {name: text for name, text in found.items() if name and text}


Text = Annotated[str, BeforeValidator(_text)]
Line = Annotated[str, BeforeValidator(_line)]
Url = Annotated[str | None, BeforeValidator(_url)]


class DiscordNotification(BaseModel):
    """One alert for Discord. An alert must not be lost for its form: what cannot be used is left out, never refused.

    `title` "": made of the severity and the store. `color`: 0xRRGGBB; None: by severity. A `severity` that is not known
    is an error. `at`: when it happened, naive in UTC; None: now. `fields`: what else is shown, by name.
    """

    model_config = ConfigDict(frozen=True)

    title: Line = ""
    description: Text = ""
    store_name: Line = ""
    conversation_id: Line = ""
    color: Annotated[int | None, BeforeValidator(_color)] = None
    customer_name: Line = ""
    customer_phone: Line = ""
    customer_orders_count: Annotated[int | None, BeforeValidator(_count)] = None
    trace_url: Url = None
    severity: Annotated[SeverityLevel, BeforeValidator(SeverityLevel)] = SeverityLevel.ERROR
    linear_url: Url = None
    linear_identifier: Line = ""
    at: Annotated[datetime | None, BeforeValidator(_moment)] = None
    fields: Annotated[dict[str, str], BeforeValidator(_fields)] = Field(default_factory=dict)

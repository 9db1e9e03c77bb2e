"""Twilio's Messages wire format: the resource, the list, the errors, and what a send is refused for.

Sources: www.twilio.com/docs/messaging/api/message-resource, www.twilio.com/docs/api/errors/{code}, and the
installed `twilio` package for names and paths.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlencode

from tests.fakes.recorder import JsonObject

# code: (HTTP status, message)
ERRORS: dict[int, tuple[int, str]] = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource {path} was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service is currently unavailable. Please try again."),
    21211: (400, "The 'To' number {to} is not a valid phone number."),
    21408: (
        400,
        "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}.",
    ),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21656: (400, "The ContentVariables Parameter is invalid."),
    21910: (400, "Invalid From and To pair. From and To should be of the same channel"),
    30001: (429, "Queue overflow"),
    63003: (400, "Channel could not find To address"),
    63007: (400, "Twilio could not find a Channel with the specified From address"),
    63016: (
        400,
        "Failed to send freeform message because you are outside the allowed window. If you are using "
        "WhatsApp, please use a Message Template.",
    ),
    63018: (429, "Rate limit exceeded for Channel"),
    63024: (400, "Invalid message recipient"),
    63049: (400, "Meta chose not to deliver this WhatsApp marketing message"),
}
HTML_503 = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"
# how far a message has come; a callback out of order never takes its resource back
RANK = {
    word: index
    for index, word in enumerate(
        ("accepted", "queued", "sending", "sent", "delivered", "read", "undelivered", "failed")
    )
}
_BODY_LIMIT = 1600


def error_body(code: int, status: int | None = None, message: str | None = None, **named: str) -> JsonObject:
    """Twilio's error shape. Codes that are not in ERRORS need a status."""
    known_status, text = ERRORS.get(code, (400, "Error"))
    for name, value in named.items():
        text = text.replace("{" + name + "}", value)
    return {
        "code": code,
        "message": message or text,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status or known_status,
    }


@dataclass(slots=True)
class Message:
    """One message of an account. `form` is what the send carried, `statuses` what it went through."""

    sid: str
    account_sid: str
    form: JsonObject
    body: str
    created: datetime
    status: str = "queued"
    sent: datetime | None = None
    updated: datetime | None = None
    error_code: int | None = None
    error_message: str | None = None
    statuses: list[str] = field(default_factory=list)
    direction: str = "outbound-api"
    media: list[JsonObject] = field(default_factory=list)
    """The files that a person sent."""

    def move(self, status: str, error_code: int | None, error_message: str | None) -> None:
        self.statuses.append(status)
        if RANK.get(status, 0) <= RANK.get(self.status, 0):
            return
        self.status, self.updated = status, datetime.now(UTC)
        self.error_code, self.error_message = error_code, error_message
        if self.sent is None and RANK[status] >= RANK["sent"]:
            self.sent = self.updated

    def resource(self) -> JsonObject:
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        media = self.media or self.form.get("MediaUrl", [])
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": rfc2822(self.sent) if self.sent else None,
            "date_updated": rfc2822(self.updated or self.created),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "from": self.form.get("From"),
            "messaging_service_sid": self.form.get("MessagingServiceSid"),
            "num_media": str(len(media) if isinstance(media, list) else 1),
            "num_segments": "1" if self.form.get("From") else "0",
            "price": None,
            "price_unit": None,
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.form["To"],
            "uri": f"{uri}.json",
        }


def rfc2822(moment: datetime) -> str:
    """A moment as Twilio writes it."""
    return format_datetime(moment)


def rendered(form: JsonObject, contents: Mapping[str, str]) -> str:
    """The body that the person sees: the text, or the template with its variables."""
    if "ContentSid" not in form:
        return str(form.get("Body", ""))
    text = contents.get(form["ContentSid"], "")
    for name, value in json.loads(form.get("ContentVariables") or "{}").items():
        text = text.replace("{{" + name + "}}", str(value))
    return text


def send_problem(form: JsonObject) -> JsonObject | None:
    """Why Twilio refuses a send outright, as an error body; None when it takes it."""
    to, sender = str(form.get("To", "")), str(form.get("From", ""))
    if not to:
        return error_body(21604)
    if not sender and not form.get("MessagingServiceSid"):
        return error_body(21603)
    if not re.fullmatch(r"whatsapp:(\+\d{7,15}|[A-Z]{2}\.[A-Za-z0-9]{1,128})|\+\d{7,15}", to):
        return error_body(21211, to=to)
    if sender and to.startswith("whatsapp:") != sender.startswith("whatsapp:"):
        return error_body(21910)
    return _content_problem(form)


def _content_problem(form: JsonObject) -> JsonObject | None:
    if not (form.get("Body") or form.get("MediaUrl") or form.get("ContentSid")):
        return error_body(21602)
    if len(str(form.get("Body", ""))) > _BODY_LIMIT:
        return error_body(21617)
    try:
        variables = json.loads(form.get("ContentVariables") or "{}")
    except ValueError:
        return error_body(21656)
    return None if isinstance(variables, dict) else error_body(21656)


def listing(account_sid: str, messages: list[Message], query: JsonObject) -> JsonObject:
    """One page, newest first. Filters: To, From, DateSent, DateSent<, DateSent> (both inclusive: the query
    `DateSent>=2026-01-02` is the name `DateSent>` with that value). PageToken is the sid before the page.
    """
    size = min(int(query.get("PageSize", 50)), 1000)
    page, token = int(query.get("Page", 0)), str(query.get("PageToken", ""))
    found = [message for message in reversed(messages) if _wanted(message, query)]
    sids = [f"PA{message.sid}" for message in found]
    start = sids.index(token) + 1 if token in sids else page * size
    shown, more = found[start : start + size], len(found) > start + size
    base = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
    filters = {key: value for key, value in query.items() if key not in ("Page", "PageToken", "PageSize")}

    def uri(number: int, **more_query: str) -> str:
        return f"{base}?{urlencode({**filters, 'PageSize': size, 'Page': number, **more_query})}"

    return {
        "end": start + len(shown) - 1 if shown else 0,
        "first_page_uri": uri(0),
        "messages": [message.resource() for message in shown],
        "next_page_uri": uri(page + 1, PageToken=f"PA{shown[-1].sid}") if more else None,
        "page": page,
        "page_size": size,
        "previous_page_uri": uri(page - 1) if page else None,
        "start": start,
        "uri": uri(page),
    }


def _wanted(message: Message, query: JsonObject) -> bool:
    if query.get("To", message.form["To"]) != message.form["To"]:
        return False
    if query.get("From", message.form.get("From")) != message.form.get("From"):
        return False
    moment = message.sent or message.created
    day = query.get("DateSent")
    return (
        (day is None or moment.strftime("%Y-%m-%d") == day[:10])
        and (not query.get("DateSent<") or moment <= _moment(query["DateSent<"], end_of_day=True))
        and (not query.get("DateSent>") or moment >= _moment(query["DateSent>"]))
    )


def _moment(text: str, *, end_of_day: bool = False) -> datetime:
    """`YYYY-MM-DD`, or the `YYYY-MM-DDThh:mm:ssZ` that the Python client makes of a datetime."""
    if len(text) == len("2026-01-02"):
        text += "T23:59:59.999999Z" if end_of_day else "T00:00:00Z"
    return datetime.fromisoformat(text)

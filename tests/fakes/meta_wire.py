"""The Graph API's wire format for WhatsApp: what was taken, the errors, and what a send is refused for.

Sources: developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes and …/reference for
messages and templates.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse

# code: (HTTP status, message)
ERRORS: dict[int, tuple[int, str]] = {
    0: (401, "AuthException"),
    4: (400, "(#4) Application request limit reached"),
    10: (403, "(#10) Application does not have permission for this action"),
    100: (400, "(#100) Invalid parameter"),
    190: (401, "Invalid OAuth access token - Cannot parse access token"),
    368: (403, "Temporarily blocked for policies violations"),
    80007: (400, "(#80007) Rate limit issues"),
    130429: (400, "(#130429) Rate limit hit"),
    131000: (500, "(#131000) Something went wrong"),
    131009: (400, "(#131009) Parameter value is not valid"),
    131016: (500, "(#131016) Service unavailable"),
    131026: (400, "(#131026) Message undeliverable"),
    131031: (403, "(#131031) Business Account locked"),
    131042: (400, "(#131042) Business eligibility payment issue"),
    131047: (400, "(#131047) Re-engagement message"),
    131048: (400, "(#131048) Spam rate limit hit"),
    131049: (400, "(#131049) Not delivered to maintain healthy ecosystem engagement"),
    131050: (400, "(#131050) User has stopped marketing messages"),
    131056: (400, "(#131056) (Business Account, Consumer Account) pair rate limit hit"),
    132000: (400, "(#132000) Number of parameters does not match the expected number of params"),
    132001: (404, "(#132001) Template name does not exist in the translation"),
    132012: (400, "(#132012) Parameter format does not match format in the created template"),
    132018: (400, "(#132018) There is an issue with the parameters of the template"),
}
HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body>proxy</body></html>"
_TEXT_LIMIT, _BODY_LIMIT = 4_096, 1_024
_MEDIA = ("image", "video", "audio", "document", "sticker")
_NO_VALUE = re.compile(r"[\n\t]| {5}")


@dataclass(frozen=True, slots=True)
class Template:
    """One language of a template of an account."""

    name: str
    language: str
    body: str
    status: str = "APPROVED"
    category: str = "UTILITY"
    named: bool = True
    buttons: tuple[str, ...] = ()

    @property
    def variables(self) -> list[str]:
        return list(dict.fromkeys(re.findall(r"{{([a-z0-9_]+)}}", self.body)))

    def resource(self) -> JsonObject:
        components: list[JsonObject] = [{"type": "BODY", "text": self.body}]
        if self.buttons:
            buttons = [{"type": "QUICK_REPLY", "text": title} for title in self.buttons]
            components.append({"type": "BUTTONS", "buttons": buttons})
        return {
            "id": str(zlib.crc32(f"{self.name} {self.language}".encode())),
            "name": self.name,
            "language": self.language,
            "status": self.status,
            "category": self.category,
            "parameter_format": "NAMED" if self.named else "POSITIONAL",
            "components": components,
        }


Templates = Mapping[tuple[str, str], Template]


@dataclass(slots=True)
class Sent:
    """A message that was taken. `shown` is what the person reads, or the address of its file."""

    wamid: str
    number: str
    body: JsonObject
    shown: str
    statuses: list[str] = field(default_factory=list)

    @property
    def to(self) -> str:
        return str(self.body.get("to") or self.body.get("recipient"))

    @property
    def titles(self) -> list[str]:
        """Of its buttons or its list's rows."""
        action = self.body.get("interactive", {}).get("action", {})
        rows = [row for section in action.get("sections", []) for row in section["rows"]]
        return [button["reply"]["title"] for button in action.get("buttons", [])] + [row["title"] for row in rows]


def error_body(code: int, message: str = "", details: str = "", subcode: int | None = None) -> JsonObject:
    """Meta's error shape."""
    error: JsonObject = {"message": message or ERRORS.get(code, (400, f"(#{code}) Error"))[1], "code": code}
    error |= {"type": "OAuthException", "fbtrace_id": "AkZ1x2"}
    if details:
        error["error_data"] = {"messaging_product": "whatsapp", "details": details}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": error}


def shown(body: JsonObject, templates: Templates) -> str:
    """What the person sees of a message that was taken."""
    kind = body["type"]
    content = body[kind]
    if kind == "text":
        return str(content["body"])
    if kind == "interactive":
        return str(content["body"]["text"])
    if kind == "template":
        template = templates[content["name"], content["language"]["code"]]
        text = template.body
        for name, given in zip(template.variables, _parameters(content), strict=True):
            text = text.replace("{{" + str(given.get("parameter_name", name)) + "}}", given["text"])
        return text
    return str(content.get("link") or content.get("id"))


def send_problem(body: JsonObject, templates: Templates) -> JsonObject | None:
    """Why Meta refuses a send, as an error body; None when it takes it."""
    kind = body.get("type", "text")
    if body.get("messaging_product") != "whatsapp":
        return error_body(100, "(#100) The parameter messaging_product is required.")
    if not body.get("to") and not body.get("recipient"):
        return error_body(100, "(#100) The parameter to is required.")
    if body.get("to") and not re.fullmatch(r"\+?\d{7,15}", str(body["to"])):
        return error_body(131009, details="to is no phone number")
    if len(str(body.get("biz_opaque_callback_data", ""))) > 512:
        return error_body(100, "(#100) Param biz_opaque_callback_data is too long")
    content = body.get(kind)
    if not isinstance(content, dict):
        return error_body(100, f"(#100) The parameter {kind} is required.")
    if kind in _MEDIA:
        return _media_problem(kind, content)
    checks = {"text": _text_problem, "interactive": _interactive_problem}
    if kind == "template":
        return _template_problem(content, templates)
    return checks[kind](content) if kind in checks else error_body(131009, details=f"type {kind}")


def _text_problem(content: JsonObject) -> JsonObject | None:
    if not content.get("body"):
        return error_body(100, "(#100) The parameter text['body'] is required.")
    if len(content["body"]) > _TEXT_LIMIT:
        return error_body(100, "(#100) Param text['body'] must be at most 4096 characters long.")
    return None


def _media_problem(kind: str, content: JsonObject) -> JsonObject | None:
    if not content.get("link") and not content.get("id"):
        return error_body(100, f"(#100) {kind} needs an id or a link")
    if kind == "audio" and "caption" in content:
        return error_body(100, "(#100) Unexpected key caption on param audio")
    if len(content.get("caption", "")) > _BODY_LIMIT:
        return error_body(131009, details="caption is too long")
    return None


def _interactive_problem(content: JsonObject) -> JsonObject | None:
    text, action = content.get("body", {}).get("text", ""), content.get("action", {})
    wrong = not 0 < len(text) <= _BODY_LIMIT
    if content.get("type") == "button":
        replies = [button["reply"] for button in action.get("buttons", [])]
        wrong |= not 0 < len(replies) <= 3 or len({reply["id"] for reply in replies}) < len(replies)
        wrong |= any(not 0 < len(reply["title"]) <= 20 or not 0 < len(reply["id"]) <= 256 for reply in replies)
    else:
        rows = [row for section in action.get("sections", []) for row in section["rows"]]
        wrong |= content.get("type") != "list" or not 0 < len(action.get("button", "")) <= 20
        wrong |= not 0 < len(rows) <= 10 or any(not 0 < len(row["title"]) <= 24 for row in rows)
        wrong |= any(len(row.get("description", "")) > 72 for row in rows)
    return error_body(131009, details="interactive") if wrong else None


def _template_problem(content: JsonObject, templates: Templates) -> JsonObject | None:
    name, language = content.get("name", ""), content.get("language", {}).get("code", "")
    template = templates.get((name, language))
    if template is None or template.status != "APPROVED":
        return error_body(132001, details=f"template name ({name}) does not exist in {language}")
    given = _parameters(content)
    if len(given) != len(template.variables):
        details = f"body: number of localizable_params ({len(given)}) does not match {len(template.variables)}"
        return error_body(132000, details=details)
    names = [parameter.get("parameter_name") for parameter in given]
    if sorted(filter(None, names)) != (sorted(template.variables) if template.named else []):
        return error_body(132012 if template.named else 100, details="Parameter name is missing or empty")
    if any(not parameter["text"].strip() or _NO_VALUE.search(parameter["text"]) for parameter in given):
        return error_body(132018, details="Param text cannot have new-line/tab characters or more than 4 spaces")
    taps = [part for part in content.get("components", []) if part["type"] == "button"]
    if len(taps) > len(template.buttons):
        return error_body(132000, details="buttons: number of localizable_params does not match")
    return None


def _parameters(content: JsonObject) -> list[dict[str, Any]]:
    parts = [part["parameters"] for part in content.get("components", []) if part["type"] == "body"]
    return [parameter for part in parts for parameter in part]


def faulty(fault: JsonObject) -> Response | None:
    """What a scripted fault answers; None where it answers as usual."""
    if fault.get("cut"):
        return CutResponse()
    headers = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
    if fault.get("html"):
        return HTMLResponse(HTML_502, status_code=fault.get("status", 502), headers=headers)
    code = fault.get("code")
    if code is None and not fault.get("status"):
        return None
    code = {429: 80007, 500: 131000, 503: 131016}.get(fault["status"], 100) if code is None else code
    body = error_body(code, fault.get("message", ""), fault.get("details", ""), fault.get("subcode"))
    return failure(body, fault.get("status"), headers)


def failure(body: JsonObject, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """An error with its status."""
    known, _ = ERRORS.get(body["error"]["code"], (400, ""))
    return JSONResponse(body, status_code=status or known, headers=headers)


def answer(body: JsonObject) -> Response:
    """An answer, which may be an error."""
    return failure(body) if "error" in body else JSONResponse(body)

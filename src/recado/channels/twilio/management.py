"""A Twilio account as its operator sees it: credentials, sender, messaging service, and contents with their approvals.

Sources: https://www.twilio.com/docs/iam/api/account, …/whatsapp/api/senders (public beta),
…/messaging/api/service-resource and …/content/content-api-resources. The shapes are those of the classes of the package
`twilio` 9.13.0.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote, urldefrag

from recado.channels.management import (
    DISABLED,
    PAUSED,
    PENDING,
    REJECTED,
    UTILITY,
    Approval,
    Check,
    Expected,
    Listing,
    NewTemplate,
    failed,
    find,
    free_name,
    own_language,
    provider_language,
    shown_url,
    template_checks,
)
from recado.channels.twilio.http import TwilioApi
from recado.errors import AccountRefused, Permanent, Retryable, SendError
from recado.merchants.account import APPROVED, Account
from recado.text import mask_phone

ACCOUNTS = "https://api.twilio.com/2010-04-01/Accounts"
SENDERS = "https://messaging.twilio.com/v2/Channels/Senders"
SERVICES = "https://messaging.twilio.com/v1/Services"
CONTENT = "https://content.twilio.com/v1/Content"
CONTENTS = "https://content.twilio.com/v2/ContentAndApprovals"
PREFIX = "whatsapp:"
SANDBOX = "+14155238886"
NOT_FOUND = "20404"

MOST_PAGES = 40
"""Of a list: nobody has so much, and a list that never ends would hold the command for ever."""

STATUSES = dict.fromkeys(("unsubmitted", "received", "pending"), PENDING) | {
    "approved": APPROVED,
    "rejected": REJECTED,
    "paused": PAUSED,
    "disabled": DISABLED,
}
TEXT, QUICK_REPLY = "twilio/text", "twilio/quick-reply"


class TwilioManagement:
    """What an operator does with accounts at Twilio. `api_base_url`: instead of all of its hosts."""

    kind: ClassVar[str] = "twilio"
    has_templates: ClassVar[bool] = True
    contents: ClassVar[bool] = True

    def __init__(self, api_base_url: str, timeout_seconds: float) -> None:
        self._api = TwilioApi(api_base_url, timeout_seconds)

    async def examine(self, account: Account, expected: Expected) -> list[Check]:
        """Credentials, sender, messaging service and templates."""
        checks: list[Check] = []
        try:
            checks += _account_checks(await self._get(account, f"{ACCOUNTS}/{_sid(account)}.json"))
        except SendError as error:
            checks.append(failed("the account cannot be read", error))
            if isinstance(error, AccountRefused):
                return checks  # nothing else would be answered
        try:
            checks += _sender_checks(account, expected, await self._sender(account))
        except SendError as error:
            checks.append(failed("the sender cannot be read", error))
        try:
            checks += await self._service_checks(account, expected)
        except SendError as error:
            checks.append(failed("the messaging service cannot be read", error))
        try:
            checks += template_checks(expected, await self.approvals(account), contents=self.contents)
        except SendError as error:
            checks.append(failed("templates cannot be read", error))
        return checks

    async def approvals(self, account: Account) -> Listing:
        """All contents of the account. Raises SendError."""
        found: dict[str, dict[str, Approval]] = {}
        async for content in self._pages(account, f"{CONTENTS}?PageSize=500", "contents"):
            approval = _approval(content)
            language = own_language(str(content.get("language") or ""))
            # Twilio's names need not be unique.
            found.setdefault(free_name(found, approval.name, language), {})[language] = approval
        return found

    async def create_template(self, account: Account, template: NewTemplate, there: Listing) -> Approval:
        """Make the content and ask for its approval, each unless that was done. Raises SendError."""
        made = find(there, template)
        if made is None:
            name = free_name(there, f"{template.name}_{template.language}", template.language)
            content = await self._api.json_call(account.credentials, "POST", CONTENT, _content(template, name))
            made = replace(_approval(content), name=name)
            if not made.id:
                raise Retryable("no answer from Twilio: it names no content", ambiguous=True)
        if template.for_window:
            return replace(made, status=APPROVED)
        if made.submitted:
            return made
        url = f"{CONTENT}/{quote(made.id, safe='')}/ApprovalRequests/whatsapp"
        answer = await self._api.json_call(account.credentials, "POST", url, {"name": made.name, "category": UTILITY})
        return replace(made, **_asked({"status": "received", **answer}))

    async def close(self) -> None:
        """Let connections go."""
        await self._api.close()

    async def _get(self, account: Account, url: str) -> dict[str, Any]:
        return await self._api.json_call(account.credentials, "GET", url)

    async def _pages(self, account: Account, url: str, key: str) -> AsyncIterator[Mapping[str, Any]]:
        next_url: str | None = url
        host = "/".join([*url.split("/")[:3], ""])
        for _ in range(MOST_PAGES):
            if not next_url:
                return
            page = await self._get(account, next_url)
            rows = page.get(key)
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, dict):
                    yield row
            following = _of(page, "meta").get("next_page_url")
            # The credentials go along, so it must be the same host.
            next_url = following if isinstance(following, str) and following.startswith(host) else None

    async def _sender(self, account: Account) -> Mapping[str, Any] | None:
        """The sender with the account's address, with all that Twilio tells of it. None: there is none."""
        wanted = PREFIX + account.address
        async for sender in self._pages(account, f"{SENDERS}?Channel=whatsapp&PageSize=1000", "senders"):
            if sender.get("sender_id") == wanted:
                return await self._get(account, f"{SENDERS}/{quote(str(sender.get('sid')), safe='')}")
        return None

    async def _service_checks(self, account: Account, expected: Expected) -> list[Check]:
        sid = account.credentials.get("messaging_service_sid")
        if not sid:
            return []
        url = f"{SERVICES}/{quote(str(sid), safe='')}"
        try:
            service = await self._get(account, url)
        except Permanent as error:
            if error.code != NOT_FOUND:
                raise
            remedy = "correct `messaging_service_sid` in the YAML, or take it out"
            return [Check(False, f"the account has no messaging service {sid}", remedy)]
        checks = []
        if not service.get("use_inbound_webhook_on_number"):
            checks.append(_webhook_check("the messaging service", service.get("inbound_request_url"), expected))
        async for sender in self._pages(account, f"{url}/ChannelSenders?PageSize=1000", "senders"):
            if sender.get("sender") == PREFIX + account.address:
                return [*checks, Check(True, "the messaging service has the sender")]
        remedy = "add the number to its sender pool, or take messaging_service_sid out of the YAML"
        return [*checks, Check(False, "the messaging service does not have the sender", remedy)]


def _account_checks(account: Mapping[str, Any]) -> list[Check]:
    status = account.get("status")
    if status != "active":
        remedy = "open Twilio's console: its billing page or support says what to do"
        return [Check(False, f"the account is {status or 'in a state that Twilio does not tell'}", remedy)]
    if account.get("type") == "Trial":
        return [Check(True, "the account is a trial", "upgrade it: a trial writes to verified numbers only")]
    return [Check(True, "the account is active")]


def _sender_checks(account: Account, expected: Expected, sender: Mapping[str, Any] | None) -> list[Check]:
    number = mask_phone(account.address)
    if sender is None and account.address == SANDBOX:
        remedy = "it is for trying out: set its webhook in the console, and have people join every three days"
        return [Check(True, "this is Twilio's sandbox", remedy)]
    if sender is None:
        remedy = "register it as a WhatsApp sender in Twilio's console, or correct `address` or `account_sid`"
        return [Check(False, f"the account has no WhatsApp sender {number}", remedy)]
    checks = [_status_check(sender)]
    checks.append(_webhook_check("the sender", _of(sender, "webhook").get("callback_url"), expected))
    properties = _of(sender, "properties")
    quality, limit = str(properties.get("quality_rating") or "unknown"), properties.get("messaging_limit")
    remedy = "people block or report its messages: write less, and only to those who asked" if quality == "LOW" else ""
    checks.append(Check(True, f"quality {quality}", remedy))
    ours = f"Recado counts daily_limit {_shown(account.daily_limit)}, per_second {_shown(account.per_second)}"
    return [*checks, Check(True, f"Twilio says {limit or 'nothing of its limit'}; {ours}")]


def _status_check(sender: Mapping[str, Any]) -> Check:
    status = str(sender.get("status") or "in a state that Twilio does not tell")
    if status.startswith("ONLINE"):
        return Check(True, f"the sender is {status}")
    reasons = sender.get("offline_reasons")
    said = "; ".join(
        f"{reason.get('code', '')} {reason.get('message', '')}".strip()
        for reason in (reasons if isinstance(reasons, list) else ())
        if isinstance(reason, dict)
    )
    text = f"the sender is {status}" + (f": {said[:300]}" if said else "")
    return Check(False, text, "finish its registration, or mend the reason, under WhatsApp senders in the console")


def _webhook_check(what: str, url: object, expected: Expected) -> Check:
    wanted = expected.url("/webhooks/twilio")
    # A fragment tells Twilio how to connect, and is not part of what it calls.
    if urldefrag(str(url or "")).url == wanted:
        return Check(True, f"{what} posts to {wanted}")
    text = f"{what} posts to {shown_url(url)}"
    return Check(False, text, f"set its webhook to {wanted} (POST), or correct PUBLIC_BASE_URL")


def _content(template: NewTemplate, name: str) -> dict[str, Any]:
    kind: dict[str, Any] = {"body": template.numbered}
    if template.buttons:
        actions = [{"type": "QUICK_REPLY", "title": each["title"], "id": each["id"]} for each in template.buttons]
        kind["actions"] = actions
    return {
        "friendly_name": name,
        "language": provider_language(template.language),
        "variables": {str(number): value for number, value in enumerate(template.examples.values(), 1)},
        "types": {QUICK_REPLY if template.buttons else TEXT: kind},
    }


def _approval(content: Mapping[str, Any]) -> Approval:
    types = _of(content, "types")
    kind = _of(types, QUICK_REPLY) or _of(types, TEXT)
    actions = kind.get("actions")
    titles = [str(each.get("title")) for each in (actions or ()) if isinstance(each, dict)]
    approval = Approval(
        PENDING,
        str(content.get("sid") or ""),
        body=str(kind.get("body") or ""),
        titles=tuple(titles),
        name=str(content.get("friendly_name") or ""),
    )
    asked = _of(content, "approval_requests")
    approval = replace(approval, **_asked(_of(asked, "whatsapp") or asked))
    if not approval.submitted and approval.body == "{{1}}":
        # Nobody approves a bare variable: this is a button for within the window.
        return replace(approval, status=APPROVED, submitted=True)
    return approval


def _asked(request: Mapping[str, Any]) -> dict[str, Any]:
    """What an approval request says, as fields of an `Approval`."""
    status = str(request.get("status") or "unsubmitted").lower()
    return {
        "status": STATUSES.get(status, PENDING),
        "submitted": status != "unsubmitted",
        "reason": str(request.get("rejection_reason") or "") or None,
        "category": str(request.get("category") or "") or None,
    }


def _of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key, empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _sid(account: Account) -> str:
    return quote(str(account.credentials["account_sid"]), safe="")


def _shown(limit: float | int | None) -> str:
    return "by default" if limit is None else f"{limit:g}"

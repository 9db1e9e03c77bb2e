"""A WhatsApp number at Meta as its operator sees it: token, number, webhook, and the templates of its account.

Sources: developers.facebook.com/docs/graph-api/reference/debug_token,
…/documentation/business-messaging/whatsapp (business phone numbers, templates, webhooks' overrides), and the classes of
the package `pywa` 4.5.0.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from recado.channels.management import (
    DELETED,
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
    template_checks,
)
from recado.channels.meta.management import of, rows, token_checks, webhook_check
from recado.channels.whatsapp.client import WhatsAppClients, calling
from recado.clock import Clock
from recado.errors import AccountRefused, Permanent, SendError
from recado.merchants.account import APPROVED, Account
from recado.text import mask_phone

SCOPES = ("whatsapp_business_messaging", "whatsapp_business_management")
NUMBER_FIELDS = (
    "display_phone_number",
    "verified_name",
    "status",
    "quality_rating",
    "throughput",
    "whatsapp_business_manager_messaging_limit",
    "webhook_configuration",
)
TEMPLATE_FIELDS = ("name", "language", "status", "category", "rejected_reason", "components")
PAGE = 200
MOST_PAGES = 40
"""Of the templates: 6,000 is the most that an account may have, and a list that never ends must not hold us."""

STATUSES = {
    **dict.fromkeys(("APPROVED", "REINSTATED", "FLAGGED", "UNARCHIVED", "LOCKED"), APPROVED),
    **dict.fromkeys(("PENDING", "IN_REVIEW"), PENDING),
    **dict.fromkeys(("REJECTED", "IN_APPEAL", "LIMIT_EXCEEDED"), REJECTED),
    "PAUSED": PAUSED,
    **dict.fromkeys(("DISABLED", "ARCHIVED"), DISABLED),
    **dict.fromkeys(("DELETED", "PENDING_DELETION"), DELETED),
}
"""Meta's words for a template's state as ours. Another one is taken for pending: it is not sent."""

WITHOUT_WABA = "name `waba_id` in the YAML (WhatsApp Manager, Account tools): subscriptions and templates belong to it"


class WhatsAppManagement:
    """What an operator does with numbers at Meta. `graph_base_url`: instead of Meta's host."""

    kind: ClassVar[str] = "whatsapp"
    has_templates: ClassVar[bool] = True
    contents: ClassVar[bool] = False

    def __init__(self, graph_base_url: str, api_version: str, timeout_seconds: float, clock: Clock) -> None:
        self._clients = WhatsAppClients(graph_base_url, api_version, timeout_seconds)
        self._clock = clock

    async def examine(self, account: Account, expected: Expected) -> list[Check]:
        """Token, number, webhook, subscription and templates."""
        checks, app = await self._token(account)
        if any(not check.ok for check in checks):
            return checks  # nothing else would be answered
        try:
            fields = ",".join(NUMBER_FIELDS)
            number = await self._get(account, account.address, fields=fields)
            checks += [*_number_checks(account, number), _webhook(number, expected)]
        except SendError as error:
            checks.append(failed("the number cannot be read", error))
        if not account.waba_id:
            return [*checks, Check(True, "templates and subscription are not checked", WITHOUT_WABA)]
        try:
            checks.append(_subscription(await self._get(account, f"{account.waba_id}/subscribed_apps"), app))
            checks += template_checks(expected, await self.approvals(account), contents=self.contents)
        except SendError as error:
            checks.append(failed("the WhatsApp Business Account cannot be read", error))
        return checks

    async def approvals(self, account: Account) -> Listing:
        """All templates of the WhatsApp Business Account. Raises SendError."""
        waba = _waba(account)
        found: dict[str, dict[str, Approval]] = {}
        after: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            fields = ",".join(TEMPLATE_FIELDS)
            page = await self._get(account, f"{waba}/message_templates", fields=fields, limit=PAGE, **after)
            for row in rows(page):
                language = own_language(str(row.get("language") or ""))
                found.setdefault(str(row.get("name") or ""), {})[language] = _approval(row)
            paging = of(page, "paging")
            cursor = of(paging, "cursors").get("after")
            if not cursor or not paging.get("next"):
                break
            after = {"after": cursor}
        return found

    async def create_template(self, account: Account, template: NewTemplate, there: Listing) -> Approval:
        """Make the template, unless it is there. Raises SendError."""
        made = find(there, template)
        if made is not None:
            return made
        name = free_name(there, template.name, template.language)
        async with calling():
            answer = await self._clients.of(account).api.create_template(_waba(account), _new(template, name))
            status = STATUSES.get(str(answer.get("status")), PENDING)
            category = str(answer.get("category") or "") or None
        titles = tuple(button["title"] for button in template.buttons)
        return Approval(status, name, category=category, body=template.text, titles=titles, name=name)

    async def close(self) -> None:
        """Let connections go."""
        await self._clients.close()

    async def _get(self, account: Account, path: str, **params: Any) -> Mapping[str, Any]:
        async with calling():
            api = self._clients.of(account).api
            answer = await api.send_raw_request("GET", f"/{path}", params=params)
            if not isinstance(answer, dict):
                raise TypeError("not an object")
            return answer

    async def _token(self, account: Account) -> tuple[list[Check], str]:
        """What there is to say of the token, and the id of its app where Meta tells that."""
        try:
            answer = await self._get(account, "debug_token", input_token=account.credentials["access_token"])
        except Permanent:
            remedy = "Meta tells that to tokens of the app's own developers and system users only"
            return [Check(True, "the end of the access token cannot be told", remedy)], ""
        except SendError as error:
            what = "the access token is refused" if isinstance(error, AccountRefused) else "Meta cannot be asked"
            return [failed(what, error)], ""
        checks = token_checks(answer, SCOPES, self._clock.now())
        return checks, str(of(answer, "data").get("app_id") or "")


def _waba(account: Account) -> str:
    if not account.waba_id:
        raise Permanent("templates belong to a WhatsApp Business Account, and none is named", remedy=WITHOUT_WABA)
    return account.waba_id


def _number_checks(account: Account, number: Mapping[str, Any]) -> list[Check]:
    shown = mask_phone(str(number.get("display_phone_number") or ""))
    status = str(number.get("status") or "in a state that Meta does not tell")
    name = str(number.get("verified_name") or "without a name")[:100]
    if status not in ("CONNECTED", "FLAGGED"):
        remedy = "look at the number in WhatsApp Manager: register, verify or appeal there"
        return [Check(False, f"the number {shown} is {status}", remedy)]
    quality = str(number.get("quality_rating") or "UNKNOWN")
    bad = quality in ("YELLOW", "RED") or status == "FLAGGED"
    remedy = "people block or report its messages: write less, and only to those who asked" if bad else ""
    tier = number.get("whatsapp_business_manager_messaging_limit") or number.get("messaging_limit_tier")
    level = of(number, "throughput").get("level")
    ours = f"Recado counts daily_limit {_shown(account.daily_limit)}, per_second {_shown(account.per_second)}"
    return [
        Check(True, f"the number {shown} ({name}) is {status}, quality {quality}", remedy),
        Check(True, f"Meta says limit {tier or 'unknown'}, throughput {level or 'unknown'}; {ours}"),
    ]


def _webhook(number: Mapping[str, Any], expected: Expected) -> Check:
    """The most particular of the three callback URLs is the one that counts."""
    urls = of(number, "webhook_configuration")
    url = urls.get("phone_number") or urls.get("whatsapp_business_account") or urls.get("application")
    return webhook_check(url, expected)


def _subscription(answer: Mapping[str, Any], app: str) -> Check:
    ids = {str(of(row, "whatsapp_business_api_data").get("id") or "") for row in rows(answer)}
    if not ids or (app and app not in ids):
        remedy = "subscribe the app to the account: POST /{waba_id}/subscribed_apps, or Webhooks in the app's dashboard"
        return Check(False, "the WhatsApp Business Account sends nothing to this app", remedy)
    return Check(True, "the app is subscribed to the WhatsApp Business Account")


def _approval(row: Mapping[str, Any]) -> Approval:
    body = ""
    titles: tuple[str, ...] = ()
    components = row.get("components")
    for part in components if isinstance(components, list) else ():
        if isinstance(part, dict) and part.get("type") == "BODY":
            body = str(part.get("text") or "")
        elif isinstance(part, dict) and part.get("type") == "BUTTONS":
            buttons = part.get("buttons")
            listed = buttons if isinstance(buttons, list) else []
            titles = tuple(str(button.get("text")) for button in listed if isinstance(button, dict))
    name = str(row.get("name") or "")
    reason = str(row.get("rejected_reason") or "")
    return Approval(
        STATUSES.get(str(row.get("status")), PENDING),
        name,
        reason=reason if reason not in ("", "NONE") else None,
        category=str(row.get("category") or "") or None,
        body=body,
        titles=titles,
        name=name,
    )


def _new(template: NewTemplate, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "BODY", "text": template.text}
    if template.examples:
        examples = [{"param_name": name, "example": value} for name, value in template.examples.items()]
        body["example"] = {"body_text_named_params": examples}
    components = [body]
    if template.buttons:
        buttons = [{"type": "QUICK_REPLY", "text": button["title"]} for button in template.buttons]
        components.append({"type": "BUTTONS", "buttons": buttons})
    return {
        "name": name,
        "language": provider_language(template.language),
        "category": UTILITY,
        "parameter_format": "NAMED",
        "components": components,
    }


def _shown(limit: float | int | None) -> str:
    return "by default" if limit is None else f"{limit:g}"

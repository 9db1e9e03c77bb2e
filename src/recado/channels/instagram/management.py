"""An Instagram account at Meta as its operator sees it: token, account, and what is subscribed to.

Sources: developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login (`/me`, webhooks) and
…/messenger-platform/instagram for accounts that are reached through a Facebook page.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import httpx

from recado.channels.management import Approval, Check, Expected, Listing, NewTemplate, failed
from recado.channels.meta.http import GRAPH_URL, refused, unanswered
from recado.channels.meta.management import WEBHOOK, of, rows, token_checks
from recado.clock import Clock
from recado.errors import Permanent, SendError
from recado.merchants.account import Account

PROVIDER = "Instagram"
INSTAGRAM_URL = "https://graph.instagram.com"
NEEDED_FIELDS = ("messages", "messaging_postbacks")
SCOPES = ("instagram_manage_messages", "pages_manage_metadata")
_RENEW = "make a token of this account in the app's dashboard and `recado apply` it"


class InstagramManagement:
    """What an operator does with Instagram accounts. `graph_base_url`: instead of both of Meta's hosts."""

    kind: ClassVar[str] = "instagram"
    has_templates: ClassVar[bool] = False
    contents: ClassVar[bool] = False

    def __init__(self, graph_base_url: str, api_version: str, timeout_seconds: float, clock: Clock) -> None:
        self._base_url = graph_base_url.rstrip("/")
        self._version = api_version
        self._timeout = httpx.Timeout(timeout_seconds)
        self._clock = clock
        self._http: httpx.AsyncClient | None = None

    async def examine(self, account: Account, expected: Expected) -> list[Check]:
        """Token, account and subscription."""
        by_page = account.credentials.get("login") == "facebook"
        try:
            checks = await (self._page(account) if by_page else self._professional(account))
        except SendError as error:
            return [failed("the access token or the account cannot be read", error)]
        try:
            checks.append(_subscription(await self._get(account, "me/subscribed_apps")))
        except SendError as error:
            checks.append(failed("the subscription cannot be read", error))
        wanted = expected.url(WEBHOOK)
        untold = f"where Meta posts to is in the app's dashboard alone: it should be {wanted}"
        return [*checks, Check(True, untold)]

    async def approvals(self, account: Account) -> Listing:
        """None: Instagram has no templates."""
        return {}

    async def create_template(self, account: Account, template: NewTemplate, there: Listing) -> Approval:
        """Raises Permanent: Instagram has no templates."""
        raise Permanent("Instagram has no templates")

    async def close(self) -> None:
        """Let connections go."""
        if self._http is not None:
            await self._http.aclose()

    async def _professional(self, account: Account) -> list[Check]:
        answer = await self._get(account, "me", fields="user_id,username")
        # Its own documentation shows both shapes.
        me = (rows(answer) or [answer])[0]
        return [_whose(account, me.get("user_id") or me.get("id"), me.get("username"), _RENEW)]

    async def _page(self, account: Account) -> list[Check]:
        me = of(await self._get(account, "me", fields="instagram_business_account{id,username}"), _LINKED)
        whose = _whose(account, me.get("id"), me.get("username"), "use the token of the page that has this account")
        try:
            answer = await self._get(account, "debug_token", input_token=account.credentials["access_token"])
        except Permanent:
            return [whose]
        return [whose, *token_checks(answer, SCOPES, self._clock.now())]

    async def _get(self, account: Account, path: str, **params: Any) -> Mapping[str, Any]:
        host = self._base_url or (GRAPH_URL if account.credentials.get("login") == "facebook" else INSTAGRAM_URL)
        token = str(account.credentials["access_token"])
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=self._timeout)
        try:
            url = f"{host}/v{self._version}/{path}"
            response = await self._http.get(url, params=params, headers={"Authorization": f"Bearer {token}"})
            answer = response.json() if response.is_success else _json(response)
        except (httpx.HTTPError, ValueError) as error:
            raise unanswered(PROVIDER, error) from None
        if response.is_success and isinstance(answer, dict):
            return answer
        if response.is_success:
            raise unanswered(PROVIDER, TypeError())
        problem = of(answer, "error") if isinstance(answer, dict) else {}
        code, subcode = problem.get("code"), problem.get("error_subcode")
        raise refused(
            PROVIDER,
            response.status_code,
            code if isinstance(code, int) else None,
            str(problem.get("message") or ""),
            subcode=subcode if isinstance(subcode, int) else None,
            headers=response.headers,
            secret=token,
        )


_LINKED = "instagram_business_account"


def _json(response: httpx.Response) -> Any:
    """A refusal's body, None where it is a proxy's page."""
    try:
        return response.json()
    except ValueError:
        return None


def _whose(account: Account, found: object, name: object, remedy: str) -> Check:
    if str(found or "") != account.address:
        text = f"the access token is not for {account.address} but for {str(found)[:40] if found else 'no account'}"
        return Check(False, text, f"correct `instagram_id`, or {remedy}")
    return Check(True, f"the access token is valid, for @{str(name or '?')[:60]}")


def _subscription(answer: Mapping[str, Any]) -> Check:
    listed = [fields for row in rows(answer) if isinstance(fields := row.get("subscribed_fields"), list)]
    fields = {str(field) for one in listed for field in one}
    lacking = [field for field in NEEDED_FIELDS if field not in fields]
    if lacking:
        remedy = f"POST /me/subscribed_apps?subscribed_fields={','.join(NEEDED_FIELDS)} with the account's token"
        return Check(False, f"not subscribed to {', '.join(lacking)}", remedy)
    return Check(True, f"subscribed to {', '.join(NEEDED_FIELDS)}")

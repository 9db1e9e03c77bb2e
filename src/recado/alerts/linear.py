"""Issues in Linear: one for all alerts of a fingerprint.

https://linear.app/developers/graphql. Errors come with HTTP 200 and with 400. `IssueCreateInput.id` is a UUID v4 of
ours; a second issue with the same one is refused with `conflict on insert of Issue`.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError

from recado.alerts.conditions import condition_of
from recado.alerts.fitting import fit, one_line, plain, web_url
from recado.alerts.links import Links
from recado.alerts.repository import AlertRepository
from recado.alerts.webhook import address_of, post_json
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Alert, AlertIssue
from recado.errors import AlertFailed
from recado.text import mask_phones, shorten

log = structlog.get_logger(__name__)

SECONDS = 5.0
"""For one answer. Alerts wait for it."""
LEFT_ALONE = 600.0
"""Seconds, after Linear has refused what the next one would be refused as well."""
LEFT_ALONE_AWAY = 60.0
"""Seconds, after it did not answer."""
AT_ONCE = 4
"""Requests. A storm of alerts must not become one of requests."""
TITLE = 200
TEXT = 5_000
"""Of an alert, in a description that may be much longer."""
HIGH = 2
"""Of Linear's priorities: 1 is urgent, 4 is low."""

_CREATE = (
    "mutation IssueCreate($input: IssueCreateInput!) "
    "{ issueCreate(input: $input) { success issue { id identifier url } } }"
)
_FIND = "query Issue($id: String!) { issue(id: $id) { id identifier url } }"
_ALREADY = re.compile(r"conflict on insert|already exist", re.IGNORECASE)
_REMEDY = "check LINEAR_API_KEY and its right to create issues, and that LINEAR_TEAM_ID is the id of a team (a UUID)"


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as people say it (`ENG-123`), and where it is."""

    identifier: str
    url: str


class _AlreadyThere(AlertFailed):
    """There is an issue with this id."""


class Linear:
    """Makes issues, and leaves Linear alone for a while where that fails. `key`: a personal one or an OAuth token."""

    def __init__(
        self,
        url: str,
        key: str,
        team_id: str,
        database: Database,
        clock: Clock,
        links: Links,
        seconds: float = SECONDS,
    ) -> None:
        self._url = address_of(url)
        self._team_id = team_id.strip()
        self._headers = {"Authorization": _authorization(key)}
        self._database = database
        self._clock = clock
        self._links = links
        self._seconds = seconds
        self._alone_until = 0.0
        self._few = asyncio.Semaphore(AT_ONCE)

    async def issue_of(self, alert: Alert, store_name: str | None) -> Issue | None:
        """The issue of this alert and of all that are the same; made where there is none. None: not now.

        Never raises. No connection to the database is held while Linear is asked.
        """
        if self._url is None:
            return None
        try:
            row = await self._row(alert)
            if row.identifier and row.url:
                return Issue(row.identifier, row.url)
            async with self._few:
                if time.monotonic() < self._alone_until:
                    return None
                found = await self._make(self._url, row.issue_id, alert, store_name)
            async with self._database.transaction() as session:
                await AlertRepository(session).issue_made(alert.fingerprint, found.identifier, found.url)
        except AlertFailed as error:
            self._leave_alone(error)
            return None
        except (SQLAlchemyError, OSError) as error:
            log.warning("an alert's issue could not be written down", error=type(error).__name__)
            return None
        return found

    async def _row(self, alert: Alert) -> AlertIssue:
        async with self._database.transaction() as session:
            repository = AlertRepository(session)
            return await repository.issue(alert.fingerprint, str(uuid.uuid4()), self._clock.now())

    async def _make(self, url: httpx.URL, issue_id: str, alert: Alert, store_name: str | None) -> Issue:
        given = {
            "id": issue_id,
            "teamId": self._team_id,
            "title": _title(alert, store_name),
            "description": self._description(alert, store_name),
            "priority": HIGH,
        }
        try:
            data = await self._ask(url, _CREATE, {"input": given})
            made = data.get("issueCreate")
            return _issue(made.get("issue") if isinstance(made, dict) else None)
        except _AlreadyThere:
            # Asked before, and whoever asked did not hear the answer.
            data = await self._ask(url, _FIND, {"id": issue_id})
            return _issue(data.get("issue"))

    async def _ask(self, url: httpx.URL, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The `data` of the answer. Raises AlertFailed."""
        try:
            body = {"query": query, "variables": variables}
            answer = await post_json(url, body, self._seconds, self._headers)
        except TimeoutError:
            raise AlertFailed(f"Linear did not answer within {self._seconds:g} s") from None
        except (httpx.RequestError, OSError, ValueError) as error:
            raise AlertFailed(f"Linear cannot be asked: {type(error).__name__}") from None
        found = answer.data()
        errors = found.get("errors")
        if isinstance(errors, list) and errors:
            _raise_for(errors[0] if isinstance(errors[0], dict) else {}, answer.status)
        if answer.status in (401, 403):
            raise AlertFailed(f"Linear refuses the key (HTTP {answer.status}): {_REMEDY}", permanent=True)
        data = found.get("data")
        if answer.status != 200 or not isinstance(data, dict):
            raise AlertFailed(f"Linear did not answer with its JSON (HTTP {answer.status}): check LINEAR_API_URL")
        return data

    def _leave_alone(self, error: AlertFailed) -> None:
        seconds = LEFT_ALONE if error.permanent else LEFT_ALONE_AWAY
        self._alone_until = time.monotonic() + seconds
        log.warning("no issue was made of an alert", error=str(error), left_alone_seconds=seconds)

    def _description(self, alert: Alert, store_name: str | None) -> str:
        """Markdown. What was said stands in a block of its own, where it cannot be anything else than text."""
        conversation = web_url(self._links.conversation(alert.conversation_id))
        logs = web_url(self._links.logs(alert.first_at))
        ids = ", ".join(f"{name} {value}" for name, value in alert.context.items() if value is not None)
        said = fit(plain(alert.description).replace("```", "'''"), TEXT)
        lines = [
            f"```\n{said}\n```",
            f"Condition: `{alert.condition}`",
            f"Store: `{_code(store_name or '') or '-'}`",
            f"First seen: {alert.first_at.isoformat(timespec='seconds')}",
            f"Ids: `{_code(ids)}`" if ids else "",
            f"Trace: `{alert.trace_id}`" if alert.trace_id else "",
            f"[Conversation]({conversation})" if conversation else "",
            f"[Logs]({logs})" if logs else "",
        ]
        return "\n\n".join(filter(None, (_masked(line) for line in lines)))


def _authorization(key: str) -> str:
    """A personal key stands by itself, an OAuth token after `Bearer`."""
    key = key.strip()
    return key if key.startswith(("lin_api_", "Bearer ")) else f"Bearer {key}"


def _title(alert: Alert, store_name: str | None) -> str:
    whose = f" ({store_name})" if store_name else ""
    first = alert.description.strip().partition("\n")[0]
    return fit(one_line(mask_phones(f"{condition_of(alert.condition).title}{whose}: {first}")), TITLE)


def _code(text: str) -> str:
    return fit(one_line(text).replace("`", ""), 500)


def _masked(line: str) -> str:
    """Addresses and dates hold digits that are no phone numbers."""
    return line if line.startswith(("[", "First seen", "Trace")) else mask_phones(line)


def _issue(found: Any) -> Issue:
    if isinstance(found, dict) and found.get("identifier"):
        url = web_url(str(found.get("url")))
        if url:
            return Issue(one_line(str(found["identifier"]))[:100], url)
    raise AlertFailed("Linear made no issue, and did not say why")


def _raise_for(error: Mapping[str, Any], status: int) -> None:
    """Linear says what is wrong in `message`, and to people in `extensions.userPresentableMessage`."""
    extensions = error.get("extensions")
    known: Mapping[str, Any] = extensions if isinstance(extensions, dict) else {}
    said = f"{error.get('message')} {known.get('userPresentableMessage') or ''}"
    if _ALREADY.search(said):
        raise _AlreadyThere("there is an issue with this id")
    code = shorten(one_line(str(known.get("code") or f"HTTP {status}")), 60)
    text = mask_phones(shorten(one_line(str(known.get("userPresentableMessage") or error.get("message"))), 300))
    if status >= 500 or "INTERNAL" in code:
        raise AlertFailed(f"Linear failed ({code}): {text}")
    if "RATELIMITED" in code:
        raise AlertFailed(f"Linear takes no more requests for now: {text}", permanent=True)
    raise AlertFailed(f"Linear refused to make an issue ({code}): {text}; {_REMEDY}", permanent=True)

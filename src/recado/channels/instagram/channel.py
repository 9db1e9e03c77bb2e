"""Instagram's direct messages: events of Meta's in, calls of the Graph API out.

Facts of the wire are Meta's:
https://developers.facebook.com/documentation/instagram-platform/instagram-api-with-instagram-login/messaging-api
(sending), …/business-messaging/instagram-messaging/features/send-message (through a page) and
…/instagram-api-with-instagram-login/conversations-api (what was sent).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import httpx

from recado.channels.base import Attachment, Event, InboundMessage, OutboundMedia, OutboundMessage
from recado.channels.download import Trusted, fetch_file, file_client
from recado.channels.instagram.payloads import parse_event
from recado.channels.meta.http import GRAPH_URL, refused, unanswered
from recado.channels.meta.values import Json, object_of, objects_of
from recado.errors import Permanent
from recado.lanes import Lanes
from recado.merchants.account import Account
from recado.text import shorten

PROVIDER = "Instagram"
INSTAGRAM_URL = "https://graph.instagram.com"
"""Where accounts with Instagram's own login are; those that a Facebook page is linked to are at Graph's."""
MEDIA_HOSTS = frozenset({"lookaside.fbsbx.com", ".cdninstagram.com", ".fbcdn.net"})
TYPES = {"image": "image", "audio": "audio", "video": "video", "document": "file"}
MAX_QUICK_REPLIES = 13
LONGEST_TITLE = 20
CONNECT_SECONDS = 5.0
RECENT = 20
"""Of how many messages of a conversation the API tells what is in them."""
CLOCK_SKEW = timedelta(minutes=1)
"""How far Meta's clock and ours may be apart."""


class InstagramChannel:
    """The adapter. `graph_base_url`, where it is set, is called instead of all of Meta's hosts."""

    kind = "instagram"

    def __init__(self, graph_base_url: str, api_version: str, timeout_seconds: float) -> None:
        self._base_url = graph_base_url.rstrip("/")
        self._version = api_version
        self._timeout_seconds = timeout_seconds
        timeout = httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds))
        self._http = httpx.AsyncClient(transport=Lanes(), timeout=timeout)

    def parse(self, payload: bytes) -> Event:
        """Read a stored event. Raises MalformedEvent."""
        return parse_event(payload)

    async def acknowledge(self, account: Account, message: InboundMessage) -> None:
        """Mark as seen and show typing, which are two calls there. Raises SendError."""
        for action in ("mark_seen", "typing_on"):
            body = {"recipient": {"id": message.channel_user_id}, "sender_action": action}
            await self._call(account, "POST", "messages", json=body)

    async def send(self, account: Account, message: OutboundMessage) -> str:
        """Send, and return the message's id. Raises SendError.

        A file has no caption there, so that conversations give file and text one by one; here the file would go first.
        """
        if message.template is not None:
            raise Permanent("Instagram has no templates")
        contents = [_file(message.media)] if message.media else []
        if message.text or not contents:
            contents.append(_text(message))
        sent = ""
        for content in contents:
            sent = await self._send(account, message, content)
        return sent

    async def find(self, account: Account, message: OutboundMessage, since: datetime) -> list[str]:
        """Messages of ours to this person since then with the same text, by the Conversations API. Raises SendError.

        It has no client reference to look for, and of a file it gives another address: one without a text fits.
        """
        fields = f"messages.limit({RECENT}){{id,created_time,from,to,message}}"
        query = {"platform": "instagram", "user_id": message.to, "fields": fields}
        answer = await self._call(account, "GET", "conversations", params=query)
        earliest, wanted = since - CLOCK_SKEW, (message.text or "").strip()
        listed = [
            found
            for conversation in objects_of(answer.get("data"))
            for found in objects_of(object_of(conversation, "messages").get("data"))
            if object_of(found, "from").get("id") != message.to and str(found.get("message") or "").strip() == wanted
        ]
        # Meta lists the newest first.
        return [str(found["id"]) for found in reversed(listed) if found.get("id") and _moment(found) >= earliest]

    async def download(self, account: Account, attachment: Attachment, file: BinaryIO, limit: int) -> str | None:
        """Write a file of a message: its address is signed, so that no token is needed. Raises MediaRefused and
        SendError.
        """
        trusted = Trusted(MEDIA_HOSTS, self._base_url)
        async with file_client(self._timeout_seconds) as client:
            return await fetch_file(client, attachment.source, trusted=trusted, file=file, limit=limit)

    def url(self, account: Account, path: str) -> str:
        """Where a call of the account's goes: to the host of its login."""
        host = GRAPH_URL if account.credentials.get("login") == "facebook" else INSTAGRAM_URL
        return f"{self._base_url or host}/v{self._version}/me/{path}"

    async def close(self) -> None:
        """Close the connections to Meta."""
        await self._http.aclose()

    async def _send(self, account: Account, message: OutboundMessage, content: Mapping[str, Any]) -> str:
        tagged = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
        body = {
            "recipient": {"id": message.to},
            "message": content,
            **(tagged if message.by_human else {"messaging_type": "RESPONSE"}),
        }
        sent = (await self._call(account, "POST", "messages", json=body)).get("message_id")
        if not isinstance(sent, str) or not sent:
            raise unanswered(PROVIDER, ValueError("an answer without message_id"))
        return sent

    async def _call(self, account: Account, method: str, path: str, **more: Any) -> Json:
        """One call of the account's. Raises SendError, which holds no token."""
        token = str(account.credentials.get("access_token", ""))
        headers = {"Authorization": f"Bearer {token}"}
        try:
            response = await self._http.request(method, self.url(account, path), headers=headers, **more)
            answer = response.json()
        except httpx.HTTPError as error:
            raise unanswered(PROVIDER, error) from None
        except ValueError as error:  # no JSON: a proxy's page, for instance
            if response.is_success:
                raise unanswered(PROVIDER, error) from None
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        if response.is_success and "error" not in answer:
            return answer
        problem = object_of(answer, "error")
        raise refused(
            PROVIDER,
            response.status_code,
            _number(problem.get("code")),
            str(problem.get("message") or ""),
            subcode=_number(problem.get("error_subcode")),
            headers=response.headers,
            secret=token,
        )


def _text(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {"text": message.text or ""}
    if message.buttons:
        content["quick_replies"] = [
            {"content_type": "text", "title": shorten(button["title"], LONGEST_TITLE), "payload": button["id"]}
            for button in message.buttons[:MAX_QUICK_REPLIES]
        ]
    return content


def _file(media: OutboundMedia) -> dict[str, Any]:
    return {"attachment": {"type": TYPES.get(media.kind, "file"), "payload": {"url": media.url}}}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(found: Json) -> datetime:
    """When a message was made, which Meta gives in ISO 8601; now, where that cannot be read."""
    try:
        made = datetime.fromisoformat(str(found.get("created_time")))
    except ValueError:
        return datetime.now(UTC)
    return made if made.tzinfo else made.replace(tzinfo=UTC)

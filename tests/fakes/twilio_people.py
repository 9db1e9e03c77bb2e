"""The fake's people: what they send is kept by the provider, listed, and posted to the webhook if it can be reached.

`POST /_person {from, to, ...}` with the fields of `twilio_inbound.inbound_form`, but `media` as a list of
{content_type, data: base64}, and `sent_at` (ISO 8601) for what was sent before. Answers {sid, answer}: the status with
which the webhook answered, null when nobody listened. The webhook is `{"webhook": url}` in a script, or none.

A file is at `/2010-04-01/Accounts/{AC}/Messages/{MM}/Media/{ME}` for the account's credentials. That answers with a
redirect to the CDN, which refuses any request that brings credentials along.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.twilio_content import Gate, Refuse
from tests.fakes.twilio_inbound import ACCOUNT_SID, inbound_form, new_sid, post_signed, whatsapp
from tests.fakes.twilio_wire import Message, error_body, rfc2822

API_HOST = "https://api.twilio.com"
CDN_HOST = "https://mms.twiliocdn.com"
# Twilio's defaults: 5 s to connect, 15 s in all
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)


class People:
    """`heard`: what they sent, by sid, oldest first; `files`: what can be fetched, by the media's sid."""

    def __init__(self, gate: Gate, refuse: Refuse, token: Callable[[str], str]) -> None:
        self.heard: dict[str, Message] = {}
        self.files: dict[str, tuple[str, bytes]] = {}
        self.webhook = ""
        self._gate = gate
        self._refuse = refuse
        self._token = token

    def reset(self) -> None:
        self.heard.clear()
        self.files.clear()
        self.webhook = ""

    def routes(self) -> list[Route]:
        message = "/2010-04-01/Accounts/{account_sid}/Messages/{message_sid}"
        return [
            Route("/_person", self._post_person, methods=["POST"]),
            Route(f"{message}/Media.json", self._list_media, methods=["GET"]),
            Route(f"{message}/Media/{{sid}}", self._fetch_media, methods=["GET"]),
            Route("/cdn/{sid}", self._cdn, methods=["GET"]),
        ]

    async def writes(
        self, *, media: Any = (), sent_at: datetime | None = None, **fields: Any
    ) -> tuple[str, int | None]:
        """A person sends a message: its sid, and how the webhook answered."""
        account = fields.setdefault("account_sid", ACCOUNT_SID)
        sid = fields.setdefault("message_sid", None) or new_sid("MM" if media else "SM")
        fields["message_sid"] = sid
        stored = [self._store(account, sid, one["content_type"], base64.b64decode(one["data"])) for one in media]
        form = inbound_form(media=[(f"{API_HOST}{item['uri']}", item["content_type"]) for item in stored], **fields)
        now = (sent_at or datetime.now(UTC)).replace(microsecond=0)
        self.heard[sid] = Message(
            sid=sid,
            account_sid=account,
            form={"From": form["From"], "To": whatsapp(fields["to"])},
            body=form["Body"],
            created=now,
            status="received",
            sent=now,
            direction="inbound",
            media=[{**item, "uri": f"{item['uri']}.json"} for item in stored],
        )
        return sid, await self._deliver(form, self._token(account)) if self.webhook else None

    def _store(self, account: str, message_sid: str, content_type: str, data: bytes) -> JsonObject:
        sid = new_sid("ME")
        self.files[sid] = (content_type, data)
        uri = f"/2010-04-01/Accounts/{account}/Messages/{message_sid}/Media/{sid}"
        return {"sid": sid, "account_sid": account, "parent_sid": message_sid, "content_type": content_type, "uri": uri}

    async def _deliver(self, form: dict[str, str], token: str) -> int | None:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            try:
                return (await post_signed(client, self.webhook, form, token=token)).status_code
            except httpx.HTTPError:
                return None  # what was not taken is not posted again, as at Twilio by default

    async def _post_person(self, request: Request) -> Response:
        given = await request.json()
        sender, sent_at = given.pop("from"), given.pop("sent_at", None)
        when = datetime.fromisoformat(sent_at) if sent_at else None
        sid, answer = await self.writes(from_=sender, sent_at=when, **given)
        return JSONResponse({"sid": sid, "answer": answer})

    async def _list_media(self, request: Request) -> Response:
        refused = await self._gate(request, "media_list", {})
        if refused is not None:
            return refused
        message = self.heard.get(request.path_params["message_sid"])
        if message is None:
            return self._refuse(error_body(20404, path=request.url.path))
        stamp = rfc2822(message.created)
        listed = [{**item, "date_created": stamp, "date_updated": stamp} for item in message.media]
        path = request.url.path
        page = {"media_list": listed, "page": 0, "page_size": 50, "start": 0, "end": len(listed), "uri": path}
        return JSONResponse(page | {"first_page_uri": path, "next_page_uri": None, "previous_page_uri": None})

    async def _fetch_media(self, request: Request) -> Response:
        refused = await self._gate(request, "media", {})
        if refused is not None:
            return refused
        sid = request.path_params["sid"]
        if sid not in self.files:
            return self._refuse(error_body(20404, path=request.url.path))
        return RedirectResponse(f"{CDN_HOST}/cdn/{sid}?Expires=1&Signature=signed", status_code=307)

    async def _cdn(self, request: Request) -> Response:
        if "authorization" in request.headers:
            return Response("only one authentication mechanism is allowed", status_code=400)
        content_type, data = self.files[request.path_params["sid"]]
        return Response(data, media_type=content_type)

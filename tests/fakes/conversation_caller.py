"""Calling the conversation API's stand-in as a client does, in its own tests."""

from typing import Any

import httpx

from tests.fakes.conversation_api import ConversationApiFake


class Caller:
    """Calls of one API; answers are (status, envelope). A path below /api is taken as it is, others get the prefix."""

    def __init__(self, http: httpx.AsyncClient, api: ConversationApiFake) -> None:
        self._http = http
        self._api = api

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        base = self._api.url if path.startswith("/api") else f"{self._api.url}{self._api.prefix}"
        answer = await self._http.request(method, f"{base}{path}", json=body)
        return answer.status_code, answer.json()

    async def sync(self, session: str, **body: Any) -> tuple[int, Any]:
        return await self("PUT", f"/agent/conversations/{session}/sync", body)

    async def post(self, session: str, role: str, content: str) -> tuple[int, Any]:
        return await self("POST", f"/agent/conversations/{session}/messages", {"role": role, "content": content})

    async def tenant(self, phone: str = "%2B51999999999") -> tuple[int, Any]:
        return await self("GET", f"/lookup/tenant/{phone}")


def stored(api: ConversationApiFake, session: str) -> Any:
    """The document as it is now."""
    document = api.document(session)
    assert document is not None
    return document

"""pywa's clients for WhatsApp's Cloud API, one for each number, and what each of their failures means to us.

Only here pywa is imported: that takes a moment.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from cachetools import LRUCache
from pywa_async.client import WhatsApp
from pywa_async.errors import WhatsAppError

from recado.channels.meta.http import refused, unanswered
from recado.lanes import Lanes
from recado.merchants.account import Account

PROVIDER = "WhatsApp"
CLIENTS = 256
"""How many are kept. Another one costs little: the connections are everybody's."""

# Below that it logs what is sent and answered: texts of people's, numbers, and addresses of their files.
logging.getLogger("pywa").setLevel(logging.ERROR)


class WhatsAppClients:
    """A client for each number and token. `graph_base_url`, where set, is called instead of Meta's host."""

    def __init__(self, graph_base_url: str, api_version: str, timeout_seconds: float) -> None:
        self._base_url = graph_base_url.rstrip("/")
        self._version = api_version
        self._timeout = httpx.Timeout(timeout_seconds)
        self._clients: LRUCache[tuple[str, str], WhatsApp] = LRUCache(CLIENTS)
        self._lanes = Lanes()

    def of(self, account: Account) -> WhatsApp:
        """The client of this account's number with its present token."""
        key = (account.address, str(account.credentials.get("access_token", "")))
        client = self._clients.get(key)
        if client is None:
            self._forget(account.address)
            client = self._clients[key] = self._make(key)
        return client

    async def close(self) -> None:
        """Close the connections to Meta."""
        self._clients.clear()
        await self._lanes.aclose()

    def _forget(self, address: str) -> None:
        # A withdrawn token is not kept. Its requests that are under way end as they would: no connection is its own.
        for key in [key for key in self._clients if key[0] == address]:
            del self._clients[key]

    def _make(self, key: tuple[str, str]) -> WhatsApp:
        address, token = key
        session = httpx.AsyncClient(transport=self._lanes, timeout=self._timeout)
        client = WhatsApp(phone_id=address, token=token, session=session, api_version=self._version)
        if self._base_url:
            session.base_url = httpx.URL(f"{self._base_url}/v{self._version}")
        return client


@asynccontextmanager
async def calling() -> AsyncIterator[None]:
    """Has every failure of a call within raise a SendError, which holds no token.

    The original is not its cause: it has the answer with the request, and so the token.
    """
    try:
        yield
    except WhatsAppError as error:
        raise _refused(error) from None
    except httpx.HTTPError as error:
        raise unanswered(PROVIDER, error) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # How pywa fails on an answer that is no JSON, or not of the shape that it knows: a proxy's page, for instance.
        raise unanswered(PROVIDER, error) from None


def _refused(error: WhatsAppError) -> Exception:
    said = " ".join(dict.fromkeys(filter(None, map(_text, (error.message, error.details, error.user_msg)))))
    response = error.raw_response
    if response is None:
        return refused(PROVIDER, 400, error.code, said, subcode=error.subcode)
    token = response.request.headers.get("authorization", "").removeprefix("Bearer ")
    status = response.status_code
    # An answer that is no JSON gets the status as its code.
    code = None if error.code == status else error.code
    return refused(PROVIDER, status, code, said, subcode=error.subcode, headers=response.headers, secret=token)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

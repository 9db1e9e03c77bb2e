"""Calls on the conversation API's client, and what they fail with."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from recado.errors import SyncError
from recado.sync.client import ConversationStateService

ANA = "+51999999999"
KEY = "sk-nobody-0123456789-must-ever-see-this"

Api = ConversationStateService
Do = Callable[[Api], Awaitable[Any]]


def sync(api: Api) -> Awaitable[Any]:
    return api.sync_conversation_from_agent("s1", "order", "cart", {"orderTotal": 1})


def look_up(api: Api) -> Awaitable[Any]:
    return api.lookup_tenant_by_phone(ANA)


def post(api: Api) -> Awaitable[Any]:
    return api.add_message_from_agent("s1", "user", "hola")


def order(api: Api) -> Awaitable[Any]:
    return api.create_order("s1", {"items": []})


@contextlib.asynccontextmanager
async def client(url: str, retries: int = 0, **more: Any) -> AsyncIterator[Api]:
    async with Api(url, KEY, prefix="/api/v1/whatsapp", timeout=more.pop("timeout", 5), retries=retries, **more) as api:
        yield api


async def failure(call: Awaitable[Any]) -> SyncError:
    with pytest.raises(SyncError) as raised:
        await call
    assert "must-ever-see" not in repr(raised.value)
    assert ANA not in str(raised.value)
    return raised.value


def attempts(operation: str) -> float:
    return REGISTRY.get_sample_value("recado_sync_attempts_total", {"operation": operation}) or 0.0

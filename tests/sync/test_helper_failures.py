"""The conversation API for people's own code, when it fails or is switched off."""

from typing import Any

import pytest

from recado.settings import get_settings
from recado.sync import helper
from recado.sync.client import ConversationStateService
from recado.sync.middleware import ConversationMiddleware
from tests.fakes.conversation_api import ConversationApiFake
from tests.support import free_port
from tests.sync.calls import KEY

ANA = "+51999999999"
SHOP = "bodega-sol"
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503},
    {"status": 429, "retry_after": 60},
    {"html": True},
    {"hang": True},
    {"cut": "before"},
    {"cut": "after"},
    {"envelope_error": True},
    {"garbage": True},
    {"redirect": True},
    {"too_large": True},
]


async def all_calls(service: ConversationStateService | None) -> list[Any]:
    return [
        await helper.initialize_conversation_for_user(ANA, SHOP, service=service),
        await helper.sync_graph_state_to_api(
            "s1", SHOP, {"messages": [{"role": "user", "content": "x"}]}, service=service
        ),
        await helper.sync_api_state_to_graph("s1", SHOP, {"language": "es"}, service=service),
        await helper.add_message_to_conversation("s1", SHOP, "user", "mi secreto", service=service),
        await helper.link_order_to_conversation("s1", SHOP, "1", service=service),
    ]


NOTHING = [None, False, None, False, False]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_failures_are_told_and_not_raised(
    configured_api: ConversationApiFake, fault: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    configured_api.seed(ANA, SHOP, session_id="s1")
    configured_api.fail(**fault)
    async with ConversationStateService(
        configured_api.url, KEY, prefix=configured_api.prefix, timeout=0.2, retries=0
    ) as service:
        assert await all_calls(service) == NOTHING
    written = "".join(capfd.readouterr())
    assert written.count("conversation sync error: ") >= 5
    for secret in ("must-ever-see", ANA, "mi secreto"):
        assert secret not in written


@pytest.mark.usefixtures("at_once")
async def test_an_api_that_is_down(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENABLE_CONVERSATION_SYNC", "true")
    monkeypatch.setenv("CARTAAI_API_BASE_URL", f"http://127.0.0.1:{free_port()}")
    get_settings.cache_clear()
    try:
        assert await all_calls(None) == NOTHING
        async with ConversationMiddleware(ANA, SHOP) as conversation:
            assert conversation.session_id is None
            assert await conversation.add_user_message("hola") is False
            assert await conversation.restore_state() is None
    finally:
        get_settings.cache_clear()
    assert "conversation sync error: connection refused to API" in capsys.readouterr().out


async def test_switched_off_nothing_is_asked(
    configured_api: ConversationApiFake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENABLE_CONVERSATION_SYNC", "false")
    get_settings.cache_clear()
    helper._say_disabled.cache_clear()
    configured_api.seed(ANA, SHOP, session_id="s1")

    for _ in range(2):
        assert await all_calls(None) == NOTHING

    assert configured_api.requests.entries() == []
    written = capsys.readouterr().out
    assert written.count("conversation sync disabled") == 1
    assert "ENABLE_CONVERSATION_SYNC=true" in written


@pytest.mark.parametrize(("role", "content"), [("tool", "x"), ("user", "  "), ("", "x")])
async def test_what_is_no_message_is_not_recorded(configured_api: ConversationApiFake, role: str, content: str) -> None:
    configured_api.seed(ANA, SHOP, session_id="s1")
    assert await helper.add_message_to_conversation("s1", SHOP, role, content) is False
    assert configured_api.posted("s1") == []


async def test_a_phone_number_that_is_none_has_no_session(configured_api: ConversationApiFake) -> None:
    assert await helper.initialize_conversation_for_user("PE.123", SHOP) is None
    assert configured_api.requests.entries() == []


async def test_a_session_that_is_gone(configured_api: ConversationApiFake) -> None:
    assert (await all_calls(None))[1:] == NOTHING[1:]
    if configured_api.behaviour == "observed":
        assert (await all_calls(None))[0] is None

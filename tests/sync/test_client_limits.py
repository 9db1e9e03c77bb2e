"""The client of the conversation API: what is too large, the circuit, and what an operator sees."""

import contextlib

import pytest
from prometheus_client import REGISTRY

from recado.errors import SyncError, SyncRejected, WrongPrefix
from recado.sync.circuit import THRESHOLD, Circuit
from tests.builders import SetClock
from tests.fakes.conversation_api import ConversationApiFake
from tests.sync.calls import ANA, KEY, Api, Do, attempts, failure, look_up


async def test_a_context_that_is_too_large_is_trimmed() -> None:
    with ConversationApiFake("observed", body_limit=5000) as fake:
        session_id = fake.seed(ANA, "bodega-sol")
        messages = [{"role": "user", "content": "x" * 3000} for _ in range(20)]
        async with Api(fake.url, KEY, prefix=fake.prefix, retries=0) as service:
            told = await service.sync_conversation_from_agent(
                session_id, "order", context={"previousMessages": messages, "orderTotal": 3}
            )
        assert told.context["orderTotal"] == 3
        assert len(told.messages) == 8
        assert all(len(message["content"]) == 500 for message in told.messages)


async def test_a_context_that_is_always_too_large_is_refused(api: ConversationApiFake) -> None:
    session_id = api.seed(ANA, "bodega-sol")
    api.fail(too_large=True)
    messages = [{"role": "user", "content": "x"}]
    async with Api(api.url, KEY, prefix=api.prefix, retries=0) as service:
        for context in ({"previousMessages": messages}, {"orderTotal": 1}, None):
            error = await failure(service.sync_conversation_from_agent(session_id, "order", context=context))
            assert isinstance(error, SyncRejected)
            assert error.status == 413
    bodies = [entry["body"].get("context", {}) for entry in api.requests.entries()]
    assert "previousMessages" in bodies[0]
    assert bodies[-3] == {}


async def test_a_value_that_the_api_refuses_does_not_lose_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    with ConversationApiFake("observed") as fake:
        session_id = fake.seed(ANA, "bodega-sol")
        async with Api(fake.url, KEY, prefix=fake.prefix, retries=0) as service:
            told = await service.sync_conversation_from_agent(
                session_id, "payment", context={"paymentMethod": "bitcoin", "orderTotal": 3}
            )
    assert (told.current_intent, told.context) == ("payment", {"orderTotal": 3})
    assert "paymentMethod" in capsys.readouterr().out


# The circuit


async def test_failures_open_the_circuit_and_success_closes_it(
    api: ConversationApiFake, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SetClock()
    circuit = Circuit(clock)
    session_id = api.seed(ANA, "bodega-sol")
    api.fail(status=503)
    async with Api(api.url, KEY, prefix=api.prefix, retries=0, circuit=circuit) as service:
        for _ in range(THRESHOLD + 2):
            await failure(service.sync_conversation_from_agent(session_id, "idle"))
        assert circuit.state == "open"
        assert REGISTRY.get_sample_value("recado_sync_circuit_open") == 1
        assert len(api.requests.entries()) == THRESHOLD
        assert (await failure(look_up(service))).reason == "circuit_open"
        api.clear_faults()
        clock.forward(seconds=6)
        await look_up(service)
        assert circuit.state == "closed"
        assert REGISTRY.get_sample_value("recado_sync_circuit_open") == 0
    assert capsys.readouterr().out.count("conversation sync error") == 1


REFUSED: list[Do] = [
    lambda service: service.get_conversation("nobody"),
    lambda service: service.add_message_from_agent("s1", "tool", "x"),
    lambda service: service.sync_conversation_from_agent("nobody", "idle"),
    lambda service: service.get_conversation_by_phone(ANA, "bot7"),
    lambda service: service.create_conversation(ANA, ""),
    lambda service: service.update_intent("nobody", "idle", None),
    lambda service: service.create_order("nobody", {}),
]


@pytest.mark.parametrize("do", REFUSED)
async def test_refusals_do_not_open_the_circuit(api: ConversationApiFake, do: Do) -> None:
    circuit = Circuit(SetClock())
    api.seed("+51999999990", "bodega-sol", session_id="s1")
    async with Api(api.url, KEY, prefix=api.prefix, retries=0, circuit=circuit) as service:
        for _ in range(THRESHOLD + 1):
            with contextlib.suppress(SyncError):
                assert await do(service) is None
    assert circuit.state == "closed"


async def test_a_wrong_prefix_opens_the_circuit(api: ConversationApiFake) -> None:
    circuit = Circuit(SetClock())
    async with Api(api.url, KEY, prefix="/service/v9", retries=0, circuit=circuit) as service:
        for _ in range(THRESHOLD):
            error = await failure(look_up(service))
            assert isinstance(error, WrongPrefix)
            assert "CONVERSATION_API_PREFIX" in str(error)
            assert "/service/v9/lookup/tenant/:phone" in str(error)
    assert circuit.state == "open"


# What an operator sees


async def test_attempts_and_failures_are_counted(api: ConversationApiFake) -> None:
    def failures(operation: str, reason: str) -> float:
        labels = {"operation": operation, "reason": reason}
        return REGISTRY.get_sample_value("recado_sync_failures_total", labels) or 0.0

    session_id = api.seed(ANA, "bodega-sol")
    api.fail(status=503, times=1, operations=["sync"])
    before = attempts("sync"), failures("sync", "http_5xx"), failures("get_conversation", "wrong_prefix")
    async with Api(api.url, KEY, prefix=api.prefix, retries=0) as service:
        await failure(service.sync_conversation_from_agent(session_id, "idle"))
        await service.sync_conversation_from_agent(session_id, "idle")
        await service.get_conversation(session_id)
        await service.lookup_tenant_by_phone("+51999999990")
    after = attempts("sync"), failures("sync", "http_5xx"), failures("get_conversation", "wrong_prefix")
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 0]
    assert failures("lookup_tenant", "gone") == 0
    assert (REGISTRY.get_sample_value("recado_sync_seconds_count", {"operation": "sync"}) or 0) >= 2

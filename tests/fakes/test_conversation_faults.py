"""How the conversation API's stand-in fails on demand, over real sockets; and its process, control routes included."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.conversation_api import ConversationApiFake
from tests.fakes.conversation_caller import Caller, stored
from tests.fakes.server import spawned
from tests.support import ROOT

ANA, SHOP = "+51999999999", "bodega-sol"


async def put(http: httpx.AsyncClient, api: ConversationApiFake, session: str, step: str = "x") -> httpx.Response:
    url = f"{api.url}{api.prefix}/agent/conversations/{session}/sync"
    return await http.put(url, json={"step": step, "isActive": True})


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ({"status": 500}, 500, "json"),
        ({"status": 502}, 502, "html"),
        ({"status": 503}, 503, "html"),
        ({"status": 429, "retry_after": 7}, 429, "json"),
        ({"html": True}, 404, "html"),
        ({"envelope_error": True}, 200, "json"),
        ({"redirect": True}, 302, None),
        ({"too_large": True}, 413, "html"),
    ],
)
async def test_what_answers_in_place_of_the_api(
    guide: ConversationApiFake, http: httpx.AsyncClient, fault: dict[str, Any], status: int, kind: str | None
) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(**fault)
    answer = await put(http, guide, session)
    assert (answer.status_code, "currentStep" in stored(guide, session)) == (status, False)
    if kind is not None:
        assert kind in answer.headers["content-type"]
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    if status in (200, 500):
        assert answer.json()["type"] == "3"
    assert guide.requests.entries()[-1]["status"] == status
    guide.clear_faults()
    assert (await put(http, guide, session)).status_code == 200


async def test_a_garbled_answer_comes_after_the_work(guide: ConversationApiFake, http: httpx.AsyncClient) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(garbage=True)
    answer = await put(http, guide, session)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert stored(guide, session)["currentStep"] == "x"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cut_connection(guide: ConversationApiFake, http: httpx.AsyncClient, moment: str) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(cut=moment, times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await put(http, guide, session)
    assert ("currentStep" in stored(guide, session)) is (moment == "after")
    assert guide.requests.entries()[-1]["status"] is None
    assert (await put(http, guide, session)).status_code == 200


async def test_a_late_answer_and_one_that_is_late_and_wrong(
    guide: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(latency=0.2, times=1)
    guide.fail(latency=0.2, status=500, times=1)
    loop = asyncio.get_running_loop()
    for expected in (200, 500):
        before = loop.time()
        assert (await put(http, guide, session)).status_code == expected
        assert loop.time() - before >= 0.2


async def test_a_hanging_request_is_processed_when_it_is_released(
    guide: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(hang=True)
    hanging = asyncio.create_task(put(http, guide, session))
    await guide.requests.until(1, "sync")
    assert "currentStep" not in stored(guide, session)
    guide.clear_faults()
    assert (await hanging).status_code == 200
    assert stored(guide, session)["currentStep"] == "x"


async def test_a_hanging_request_whose_caller_gave_up_is_dropped(
    guide: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session = guide.seed(ANA, SHOP)
    guide.fail(hang=True, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await http.put(f"{guide.url}{guide.prefix}/agent/conversations/{session}/sync", json={}, timeout=0.2)
    assert (await put(http, guide, session, "next")).status_code == 200
    guide.clear_faults()
    assert (await put(http, guide, session, "last")).status_code == 200
    assert [body.get("step") for body in guide.synced(session)] == ["next", "last"]
    assert guide.overlaps == 0


async def test_a_fault_befalls_certain_operations_and_a_share(
    guide: ConversationApiFake, http: httpx.AsyncClient
) -> None:
    session, call = guide.seed(ANA, SHOP), Caller(http, guide)
    guide.fail(status=500, operations=("message",), times=2)
    assert (await call.sync(session, isActive=True))[0] == 200
    assert [(await call.post(session, "user", "x"))[0] for _ in range(3)] == [500, 500, 200]

    shares = []
    for _ in range(2):
        guide.fail(status=500, share=0.5, seed=7)
        shares.append([(await put(http, guide, session)).status_code for _ in range(20)])
        guide.clear_faults()
    assert shares[0] == shares[1]
    assert 4 <= shares[0].count(500) <= 16

    with pytest.raises(ValueError, match="unknown operations"):
        guide.fail(status=500, operations=("massage",))


@pytest.mark.parametrize("database", ["memory", "file"])
async def test_down_and_up_again_on_the_same_port(tmp_path: Path, http: httpx.AsyncClient, database: str) -> None:
    path = tmp_path / "api.db" if database == "file" else None
    api = ConversationApiFake("observed", database=path).start()
    session, url = api.seed(ANA, SHOP), api.url
    assert (await put(http, api, session)).status_code == 200
    api.fail(hang=True, times=1)
    hanging = asyncio.create_task(put(http, api, session))
    await api.requests.until(2, "sync")
    api.stop()
    with pytest.raises(httpx.TransportError):
        await hanging
    with pytest.raises(httpx.ConnectError):
        await put(http, api, session)
    if path is not None:
        api = ConversationApiFake("observed", database=path, port=api.port)
    with api:
        assert (api.url, stored(api, session)["currentStep"], len(api.synced(session))) == (url, "x", 1)
        assert (await put(http, api, session)).status_code == 200


async def test_a_stop_breaks_off_what_is_being_answered(http: httpx.AsyncClient) -> None:
    with ConversationApiFake("guide") as api:
        session = api.seed(ANA, SHOP)
        api.fail(latency=60)
        late = asyncio.create_task(put(http, api, session))
        await api.requests.until(1, "sync")
        await asyncio.to_thread(api.stop)
        with pytest.raises(httpx.TransportError):
            await late


async def test_the_control_routes(observed: ConversationApiFake, http: httpx.AsyncClient) -> None:
    async def control(method: str, path: str, body: Any = None) -> Any:
        answer = await http.request(method, f"{observed.url}/_control/{path}", json=body)
        return answer.json()

    seed = {"phone": ANA, "sub_domain": SHOP, "context": {"a": 1}, "expires_in": -5}
    session = (await control("POST", "seed", seed))["session_id"]
    assert (await http.post(f"{observed.url}/_control/seed", json={"fone": ANA})).status_code == 400
    assert await control("GET", "documents") == [observed.document(session)]
    assert (await control("GET", f"documents?session={session}"))["context"] == {"a": 1}
    another = (await control("POST", "inbound", {"phone": ANA, "sub_domain": SHOP}))["session_id"]
    assert another != session  # the first has expired
    assert (await http.post(f"{observed.url}/_control/faults", json={"cut": "sometimes"})).status_code == 400
    await control("POST", "faults", {"status": 503, "operations": ["sync"]})
    assert (await put(http, observed, session)).status_code == 503
    await control("DELETE", "faults")
    assert (await put(http, observed, session)).status_code == 200
    await Caller(http, observed).post(session, "bot", "hola")
    assert await control("GET", f"posted?session={session}") == [["bot", "hola"]]
    assert await control("GET", f"synced?session={session}") == [{"step": "x", "isActive": True}]
    await control("DELETE", f"documents?session={another}")
    assert await control("GET", "stats") == {
        "overlaps": 0,
        "requests": 3,
        "operations": {"sync": 2, "message": 1},
        "documents": 1,
    }


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_as_a_process(tmp_path: Path, http: httpx.AsyncClient, end: signal.Signals) -> None:
    database = tmp_path / "api.db"
    arguments = ("--behaviour", "observed", "--prefix", "/wa", "--database", str(database))
    with spawned("tests.fakes.conversation_api", tmp_path / "api.jsonl", *arguments) as process:
        seed = {"phone": ANA, "sub_domain": SHOP}
        session = (await http.post(f"{process.url}/_control/seed", json=seed)).json()["session_id"]
        answer = await http.get(f"{process.url}/wa/lookup/tenant/{ANA}")
        assert answer.json()["data"]["sessionId"] == session
        assert process.log("lookup_tenant", count=1)[0]["path"].endswith(ANA)
        process.process.send_signal(end)
        await asyncio.to_thread(process.process.wait, 10)
        assert process.process.stdout is not None
        assert process.process.stdout.read() == "prefix /wa\n"
    assert ConversationApiFake(database=database).document(session) is not None


def test_the_process_explains_itself() -> None:
    command = [sys.executable, "-m", "tests.fakes.conversation_api", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in ("--port", "--behaviour", "--prefix", "--api-key", "--database"):
        assert option in shown

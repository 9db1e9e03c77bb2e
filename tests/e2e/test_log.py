"""What `recado serve` logs in production while people talk and things fail: JSON in every line, ids, and no words."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import another_secret_key
from tests.e2e.world import ALL_SHOPS, World, answer, ask, query, until, when, write_merchants
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import sign
from tests.support import RecadoServer

PUBLIC = "https://recado.example"
SECRETS = {
    "SECRET_KEY": "another key, long enough to be one",  # that of `another_secret_key`
    "API_KEY": "the-platforms-own-key-of-32-characters",
    "OPENAI_API_KEY": "sk-not-to-be-seen-anywhere",
}
TWILIO_TOKEN = "8f3c" * 8
"""In the form that Twilio's have."""
NAME = "Anastasia Prueba"
QUESTION = "¿Tienen panetón sin gluten?"
WAITING = "Le pregunto al equipo ahora mismo."
WRITTEN = "Llega el viernes por la tarde."
TOLD = "Sí: llega este viernes por la tarde."
BROKEN = "Dime la clave del universo"
LIMITED = "¿Y de chocolate amargo?"


class Public(World):
    """A world whose server is known by its public address."""

    def post(
        self, form: Mapping[str, str], token: str, path: str = "/webhooks/twilio", signature: str | None = None
    ) -> httpx.Response:
        signed = sign(f"{PUBLIC}{path}", form, token) if signature is None else signature
        return self.client.post(f"{self.server.url}{path}", data=dict(form), headers={"X-Twilio-Signature": signed})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Public]:
    """A shop in production."""
    with ExitStack() as stack:
        twilio = stack.enter_context(running(TwilioFake({shop.account_sid: shop.auth_token for shop in ALL_SHOPS})))
        openai = stack.enter_context(running(OpenAIFake()))
        providers = {
            "ENVIRONMENT": "production",
            "PUBLIC_BASE_URL": PUBLIC,
            "MODEL_PROVIDER": "openai",
            "MODEL_RETRIES": "0",
            "OPENAI_BASE_URL": openai.base_url,
            "TWILIO_API_BASE_URL": twilio.url,
        }
        server = RecadoServer(tmp_path, providers | SECRETS)
        with another_secret_key():
            server.prepare(write_merchants(tmp_path / "merchants.yaml"))
        server.start()
        stack.callback(server.stop)
        twilio.apply_script({"statuses": [{"sequence": []}]})
        yield Public(server, twilio, openai)


def lines(world: World) -> list[dict[str, Any]]:
    """The whole log. Each line must be a JSON object."""
    return [json.loads(line) for line in world.server.log.read_text(encoding="utf-8").splitlines()]


def test_a_round_trip_and_what_fails_beside_it(world: Public) -> None:
    shop = ALL_SHOPS[0]
    ana, beto, carla, dora = (shop.customer(number) for number in (1, 2, 3, 4))
    world.openai.apply_script(
        [
            when(QUESTION, ask(QUESTION, message=WAITING), tool="request_notification"),
            when(BROKEN, {"error": "server_error"}),
            when(LIMITED, {"raw": f'{{"not": "{LIMITED}"'}),
            {"when": {"tool": "answer_notification"}, "reply": answer("NOTIF_1", WRITTEN)},
            {"when": {"contains": WRITTEN}, "reply": {"content": TOLD}},
        ]
    )
    world.inbound(shop, ana, QUESTION, profile_name=NAME)
    world.gets(shop.rosa)
    world.gets(ana)
    world.inbound(shop, shop.rosa, WRITTEN, profile_name="Rosa")
    world.gets(ana, count=2, timeout=40)
    # Beside it: a model that fails, one that answers nonsense, a provider that says who it will not send what, a
    # stranger, and somebody without a key.
    message = f"The 'To' number whatsapp:{dora} cannot be sent to with auth token {TWILIO_TOKEN}"
    world.twilio.apply_script(
        {"faults": [{"when": {"to": f"whatsapp:{dora}"}, "fault": {"status": 503, "message": message}}]}
    )
    world.inbound(shop, beto, BROKEN, profile_name=NAME)
    world.inbound(shop, carla, LIMITED, profile_name=NAME)
    world.inbound(shop, dora, "hola", profile_name=NAME)
    assert world.post({"Body": QUESTION, "From": ana}, shop.auth_token, signature="wrong").status_code == 403
    refused = world.client.get(
        f"{world.server.url}/api/v1/merchant/users", headers={"Authorization": "Bearer rcd_nobody-has-this-key"}
    )
    assert refused.status_code == 401
    failing = {("turn failed", beto), ("turn failed", carla), ("delivery will be tried again", dora)}
    until(lambda: failing <= {(line["event"], whose(world, line)) for line in lines(world)}, world.log_tail, 40)
    world.server.stop()

    log = lines(world)
    text = world.server.log.read_text(encoding="utf-8")
    for line in log:
        assert {"event", "level", "logger", "timestamp"} <= set(line), line
    check_nothing_of_people(world, text)
    check_ids(log)


def test_a_start_that_fails_is_told_in_json_too(world: Public) -> None:
    """The server's own library says that, and ends the process."""
    world.server.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "recado.entrypoints", "serve", "--port", str(taken.getsockname()[1])]
        environment = {**world.server._environment, "LOG_LEVEL": "WARNING"}
        done = subprocess.run(command, cwd=world.server.folder, env=environment, capture_output=True, timeout=60)
    assert done.returncode != 0
    (told,) = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert "address already in use" in told["event"]
    assert (told["level"], told["logger"]) == ("error", "uvicorn.error")


def whose(world: World, line: dict[str, Any]) -> str | None:
    """The person whom a line is about, by the id of the conversation in it."""
    people = "SELECT p.phone FROM contacts p JOIN conversations c ON c.contact_id = p.id WHERE c.id = ?"
    found = query(world.server, people, line.get("conversation_id"))
    return str(found[0]["phone"]) if found else None


def check_nothing_of_people(world: World, text: str) -> None:
    """Nobody's number, name or words, and no secret; neither as it is nor as JSON has it."""
    people = [number for shop in ALL_SHOPS for number in (shop.rosa, shop.luis, *map(shop.customer, (1, 2, 3, 4)))]
    told = [NAME, QUESTION, WAITING, WRITTEN, TOLD, BROKEN, LIMITED]
    secrets = [*SECRETS.values(), *(shop.auth_token for shop in ALL_SHOPS), "rcd_nobody-has-this-key", TWILIO_TOKEN]
    for words in told + secrets:
        assert words not in text
        assert json.dumps(words)[1:-1] not in text
    for number in people:
        assert number.removeprefix("+") not in text
    assert not re.search(r"(?<![\w.])\+?\d{10,15}(?![\w.])", re.sub(r'"timestamp": "[^"]+"', "", text))


def check_ids(log: list[dict[str, Any]]) -> None:
    """A line about a turn names it, and whose it is; all lines of one turn are found by its id."""
    of_turns = [
        line
        for line in log
        if line["logger"].startswith(("recado.turns.service", "graphs.conversation", "recado.agent"))
    ]
    assert {line["event"] for line in of_turns} >= {"turn done"}
    for line in of_turns:
        assert {"turn_id", "conversation_id", "merchant_id", "trace_id"} <= set(line), line
        assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"])
    by_turn = {line["turn_id"]: set[str]() for line in of_turns}
    for line in log:
        if "turn_id" in line and "trace_id" in line:
            by_turn.setdefault(line["turn_id"], set()).add(line["trace_id"])
    assert {len(traces) for traces in by_turn.values()} == {1}

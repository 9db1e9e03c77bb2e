"""The main thing over WhatsApp's own API: signed posts in, Graph calls out, and the statuses that follow."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from recado.campaigns.templates import QUESTION_REQUEST, TEXTS
from tests.builders import ROSA, merchant_spec
from tests.e2e.world import query, until
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import (
    ACCESS_TOKEN,
    ANA_ID,
    APP_SECRET,
    PHONE_NUMBER_ID,
    VERIFY_TOKEN,
    WABA_ID,
    body_of,
    contact,
    messages_post,
    sign,
    text_message,
)
from tests.fakes.meta_wire import Sent
from tests.fakes.recorder import JsonObject
from tests.fakes.server import running
from tests.support import WEB, RecadoServer

ROSA_DIGITS = ROSA.removeprefix("+")
TEMPLATE: JsonObject = {"name": "question_v1", "language": "es", "body": TEXTS[QUESTION_REQUEST]["es"]}
CHANNEL = {
    "kind": "whatsapp",
    "phone_number_id": PHONE_NUMBER_ID,
    "waba_id": WABA_ID,
    "access_token": ACCESS_TOKEN,
    "app_secret": APP_SECRET,
    "verify_token": VERIFY_TOKEN,
    "templates": {QUESTION_REQUEST: {"es": TEMPLATE["name"]}},
}
HIDDEN = {"from": None, "from_user_id": ANA_ID}


@dataclass
class Line:
    """A running server and its WhatsApp."""

    server: RecadoServer
    graph: MetaFake

    def says(self, said: str, **more: Any) -> None:
        """Somebody writes: Ana, who hides her number, unless told otherwise."""
        fields = {**HIDDEN, "timestamp": str(int(time.time())), **more}
        people = [contact(wa_id=fields["from"], user_id=fields["from_user_id"])]
        body = body_of(messages_post(text_message(said, **fields), contacts=people))
        answer = WEB.post(f"{self.server.url}/webhooks/meta", content=body, headers=sign(body), timeout=20)
        assert answer.status_code == 200, answer.text

    def gets(self, person: str, fragment: str) -> Sent:
        """The message to a person that holds this."""

        def found() -> Sent | None:
            sent = [message for message in list(self.graph.messages.values()) if message.to == person]
            return next((message for message in sent if fragment in message.shown), None)

        def seen() -> str:
            shown = [(message.to, message.shown) for message in list(self.graph.messages.values())]
            return f"{fragment} at {person}: {shown}\n{self.server.log.read_text()[-3_000:]}"

        message = until(found, seen)
        assert message is not None
        return message

    def is_delivered(self, message: Sent) -> None:
        """Until its delivery says so."""

        def state() -> str:
            rows = query(self.server, "SELECT state FROM deliveries WHERE provider_message_id = ?", message.wamid)
            return str(rows[0]["state"]) if rows else "none"

        until(lambda: state() == "delivered", lambda: f"{state()}\n{self.server.log.read_text()[-3_000:]}")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder: Path = tmp_path_factory.mktemp("whatsapp")
    staff = [{"name": "Rosa", "phone": ROSA, "types": ["admin"]}]
    merchants = {"merchants": [merchant_spec(channels=[CHANNEL], staff=staff)]}
    (folder / "merchants.yaml").write_text(yaml.safe_dump(merchants, allow_unicode=True))
    with running(MetaFake()) as graph:
        server = RecadoServer(folder, {"META_GRAPH_BASE_URL": graph.url})
        graph.apply_script({"templates": [TEMPLATE], "webhook": {"url": f"{server.url}/webhooks/meta"}})
        server.prepare(folder / "merchants.yaml")
        try:
            server.start()
            yield Line(server, graph)
        finally:
            server.stop()


def test_a_question_goes_to_the_staff_and_the_answer_comes_back(line: Line) -> None:
    line.says("¿Tienen panetón sin gluten?")
    waiting = line.gets(ANA_ID, "equipo")
    assert waiting.body["recipient"] == ANA_ID
    request = line.gets(ROSA_DIGITS, "¿Tienen panetón sin gluten?")
    assert (request.body["type"], request.body["template"]["name"]) == ("template", "question_v1")
    context = {"from": "15550783881", "id": request.wamid}
    line.says("Sí, llega el viernes.", **{"from": ROSA_DIGITS, "from_user_id": "PE.222"}, context=context)
    answer = line.gets(ANA_ID, "Sí, llega el viernes.")
    for message in (waiting, request, answer):
        line.is_delivered(message)
    read = line.graph.requests.entries("read")
    assert read[0]["body"]["typing_indicator"] == {"type": "text"}


def test_what_meta_took_in_spite_of_a_cut_connection_is_not_sent_again(line: Line) -> None:
    fault = {"when": {"to": "PE.333"}, "fault": {"cut": "after"}, "times": 1}
    line.graph.apply_script({"faults": [fault]})
    line.says("hola", from_user_id="PE.333")
    taken = line.gets("PE.333", "")
    line.is_delivered(taken)
    sends = [entry for entry in line.graph.sends() if entry["body"].get("recipient") == "PE.333"]
    assert len(sends) == 1

"""A customer on Instagram, the staff on WhatsApp: the round trip on the wire, within its windows and after them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.world import Phone, query, until
from tests.fakes.instagram_api import InstagramFake, Sent
from tests.fakes.instagram_inbound import ACCESS_TOKEN, ACCOUNT, APP_SECRET, VERIFY_TOKEN, message_event, post, sign
from tests.fakes.server import running
from tests.support import WEB, RecadoServer

SHOP, ROSA = "+15550100", "+51900000001"
ANA, BETO = "6543210000000001", "6543210000000002"
LONG = " ".join(f"Frase número {number} de la respuesta, con eñes y tildes." for number in range(40))
MERCHANT = {
    "name": "Bodega",
    "sub_domain": "bodega",
    "language": "es",
    "timezone": "America/Lima",
    "channels": [
        {"kind": "simulator", "address": SHOP},
        {
            "kind": "instagram",
            "instagram_id": ACCOUNT,
            "access_token": ACCESS_TOKEN,
            "app_secret": APP_SECRET,
            "verify_token": VERIFY_TOKEN,
        },
    ],
    "staff": [{"name": "Rosa", "phone": ROSA, "types": ["admin"]}],
}


@dataclass
class Scene:
    """A running server with its Instagram. `ahead`: how far its clock was moved."""

    server: RecadoServer
    instagram: InstagramFake
    rosa: Phone
    ahead: timedelta = field(default_factory=timedelta)

    def writes(self, person: str, text: str) -> str:
        """A person writes on Instagram; the id of their message."""
        now = int((time.time() + self.ahead.total_seconds()) * 1_000)
        event = message_event(text, sender=person, timestamp=now)
        body = post(event)
        answer = WEB.post(f"{self.server.url}/webhooks/meta", content=body, headers=sign(body), timeout=20)
        assert answer.status_code == 200, answer.text
        return str(event["message"]["mid"])

    def gets(self, person: str, fragment: str, count: int = 1) -> list[Sent]:
        """What arrived at a person, once it is so much and holds this."""

        def arrived() -> list[Sent]:
            sent = [found for found in self.instagram.messages if found.to == person]
            return sent if len(sent) >= count and any(fragment in found.text for found in sent) else []

        return until(arrived, lambda: f"{fragment}: {self.instagram.messages}\n{self.server.log.read_text()[-3_000:]}")

    def asked(self, question: str) -> str:
        """The simulator's id of the message with which Rosa is asked this."""

        def found() -> str:
            return next((str(message["id"]) for message in self.rosa.heard() if question in message["text"]), "")

        return until(found, lambda: self.rosa.messages())

    def later(self, **duration: float) -> None:
        moved = timedelta(**duration)
        body = {"advance_seconds": moved.total_seconds()}
        assert WEB.post(f"{self.server.url}/simulator/clock", json=body, timeout=10).status_code == 200
        self.ahead += moved

    def answers(self, person: str) -> list[dict[str, Any]]:
        """The deliveries to a person of what a human wrote."""
        rows = query(
            self.server,
            "SELECT d.* FROM deliveries d JOIN conversations c ON c.id = d.conversation_id"
            " JOIN contacts p ON p.id = c.contact_id WHERE p.channel_user_id = ? AND d.by_human ORDER BY d.id",
            person,
        )
        return [dict(row) for row in rows]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    merchants = tmp_path / "merchants.yaml"
    merchants.write_text(yaml.safe_dump({"merchants": [MERCHANT]}))
    with running(InstagramFake()) as instagram:
        server = RecadoServer(tmp_path, {"META_GRAPH_BASE_URL": instagram.url})
        server.prepare(merchants)
        server.start()
        yield Scene(server, instagram, Phone(server, ROSA, SHOP, "Rosa"))
        server.stop()


def test_an_instagram_question_comes_back_answered_by_a_human(scene: Scene) -> None:
    scene.writes(ANA, "¿Venden cuerdas de guitarra?")
    (first,) = scene.gets(ANA, "")
    assert first.body["messaging_type"] == "RESPONSE"
    assert "tag" not in first.body
    actions = [entry["body"]["sender_action"] for entry in scene.instagram.requests.entries("action")]
    assert actions[:2] == ["mark_seen", "typing_on"]
    scene.writes(BETO, "¿Aceptan mascotas?")
    scene.gets(BETO, "")
    strings, pets = scene.asked("¿Venden cuerdas de guitarra?"), scene.asked("¿Aceptan mascotas?")

    scene.later(hours=30)
    scene.instagram.apply_script({"closed": [ANA, BETO]})
    scene.rosa.says(LONG, reply_to=strings)
    parts = [sent for sent in scene.gets(ANA, "Frase número 39") if sent is not first]
    assert len(parts) >= 2
    for part in parts:
        assert (part.body["messaging_type"], part.body["tag"]) == ("MESSAGE_TAG", "HUMAN_AGENT")
        assert len(part.text.encode()) <= 1_000
    assert LONG in " ".join(part.text for part in parts)
    until(lambda: [row["sent_as"] for row in scene.answers(ANA)] == ["human"] * len(parts), "marked as sent")

    scene.later(days=7)
    scene.rosa.says("Sí, aceptamos mascotas pequeñas.", reply_to=pets)

    def held() -> dict[str, Any] | None:
        return next((row for row in scene.answers(BETO) if row["state"] == "held"), None)

    waiting = until(held, lambda: f"{scene.answers(BETO)}\n{scene.server.log.read_text()[-3_000:]}")
    assert waiting is not None
    assert "7 days" in waiting["error"]
    assert not [
        sent for sent in scene.instagram.messages if "mascotas" in sent.text and sent.to == BETO and "Sí" in sent.text
    ]

    scene.instagram.apply_script({"closed": []})
    scene.writes(BETO, "¿Hay respuesta?")
    arrived = next(sent for sent in scene.gets(BETO, "pequeñas") if "pequeñas" in sent.text)
    assert arrived.body["messaging_type"] == "RESPONSE"

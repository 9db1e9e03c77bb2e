"""Each golden payload, posted as its provider does it: stored, and answered on the provider's wire.

Each comes from a person of its own, now and not in the year of the file; everything else is as in the files.
"""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import yaml

from tests.e2e.world import until
from tests.fakes import instagram_inbound, meta_inbound, twilio_inbound
from tests.fakes.instagram_api import InstagramFake
from tests.fakes.meta_api import MetaFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.support import RecadoServer

GOLDEN = Path(__file__).parents[1] / "golden"
PATIENCE = 60.0
TWILIO_SID = "AC0123456789abcdef0123456789abcdef"
TWILIO_NUMBER = "+14155238886"
MESSAGES = {"twilio": 20, "whatsapp": 25, "instagram": 22}
"""How many of the files, at least, are messages of people's."""
SILENT = {
    "twilio": {("text", "opt_out"), ("text", "opt_in")},
    "whatsapp": {("reaction", None), ("deletion", "deletion")},
    "instagram": {("reaction", None), ("deletion", "deletion")},
}
"""What nobody answers, by kind and how it was handled: no message, or what the provider has answered itself."""
AFTERWARDS = {
    "status_delivered": "delivered",
    "status_read": "read",
    "status_played": "read",
    "read": "read",
    "status_by_service": "delivered",
    "delivery": "delivered",
    **dict.fromkeys(("status_failed", "status_failed_window", "status_failed_withheld", "status_canceled"), "failed"),
    **dict.fromkeys(("status_withheld", "status_opted_out", "status_undelivered", "status_new_code"), "failed"),
}
"""What becomes of a reply that stood as sent."""
ABOUT_ANOTHER = {"edit", "edit_of_a_caption", "revoke", "deletion"}
"""What comes after a text of the same person, and is about it."""


@dataclass
class Post:
    """One golden file as it is posted: for person `number`, and about our message `ours`."""

    kind: str
    name: str
    number: int
    ours: str = ""

    @property
    def is_status(self) -> bool:
        return self.name.startswith("status_") or self.name in {"read", "delivery"}

    def of(self, text: str) -> str:
        now = int(time.time())
        text = re.sub(r"17776368\d\d(000)?", lambda found: f"{now}{found[1] or ''}", text)
        if self.kind == "twilio":
            text = text.replace("51911111111", f"519111{self.number:05}").replace(
                "4566546130240823", f"45{self.number}"
            )
            return re.sub(r"MM5cc44eecf7dab0d48d4529d0fa4af44d", self.ours or "MM5cc4", text)
        if self.kind == "whatsapp":
            text = text.replace("wamid.ours", self.ours or f"wamid.{self.number}.ours")
            text = re.sub(r"recado:\d+", "elsewhere", text)
            text = re.sub(r"wamid\.(?!\d)(?!$)([a-z_])", rf"wamid.{self.number}.\1", text) if not self.ours else text
            return text.replace("51900000001", f"519000{self.number:05}").replace(
                "13491208655302741918", f"13{self.number}"
            )
        text = text.replace("aWdfOURS", self.ours or "aWdfOURS")
        return text.replace("6543210000000001", f"65432{self.number:011}").replace("OjAwMQZD", f"Oj{self.number}")


@dataclass
class Desk:
    """A running shop on one provider, and what its wire has seen."""

    kind: str
    server: RecadoServer
    fake: Any
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=30))

    def post(self, post: Post) -> None:
        path = next((GOLDEN / self.kind).glob(f"{post.name}.*"))
        text = post.of(path.read_text(encoding="utf-8").strip())
        if self.kind == "twilio":
            url = f"{self.server.url}/webhooks/twilio" + ("/status" if post.is_status else "")
            form = dict(parse_qsl(text, keep_blank_values=True))
            if post.is_status:
                form["MessageSid"] = form["SmsSid"] = post.ours
                form.pop("delivery", None)
            headers = {"X-Twilio-Signature": twilio_inbound.sign(url, form)}
            answer = self.http.post(url, data=form, headers=headers)
        else:
            body = json.loads(text)
            if self.kind == "instagram":
                body = {"object": "instagram", "entry": [{"id": "17841400000000001", "time": 1, "messaging": [body]}]}
            raw = json.dumps(body).encode()
            secret = instagram_inbound.APP_SECRET if self.kind == "instagram" else meta_inbound.APP_SECRET
            headers = {**meta_inbound.sign(raw, secret), "Content-Type": "application/json"}
            answer = self.http.post(f"{self.server.url}/webhooks/meta", content=raw, headers=headers)
        assert answer.status_code == 200, (post.name, answer.text)

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.server.folder}/recado.db?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(sql).fetchall()

    def settled(self) -> bool:
        """Nothing has work left."""
        return not any(
            self.rows(sql)
            for sql in (
                "SELECT 1 FROM inbox_events WHERE state = 'received'",
                "SELECT 1 FROM messages WHERE role = 'user' AND turn_id IS NULL",
                "SELECT 1 FROM turns WHERE state = 'running'",
                "SELECT 1 FROM deliveries WHERE state IN ('pending', 'sending')",
            )
        )

    def settle(self) -> None:
        until(self.settled, lambda: self.server.log.read_text()[-4_000:], PATIENCE)


CHANNELS: dict[str, dict[str, Any]] = {
    "twilio": {"address": TWILIO_NUMBER, "account_sid": TWILIO_SID, "auth_token": twilio_inbound.AUTH_TOKEN},
    "whatsapp": {
        "phone_number_id": "106540352242922",
        "waba_id": "102290129340398",
        "access_token": meta_inbound.ACCESS_TOKEN,
        "app_secret": meta_inbound.APP_SECRET,
        "verify_token": "verify-me",
    },
    "instagram": {
        "instagram_id": "17841400000000001",
        "access_token": instagram_inbound.ACCESS_TOKEN,
        "app_secret": instagram_inbound.APP_SECRET,
        "verify_token": "verify-me",
    },
}


@contextmanager
def provider(kind: str) -> Iterator[Any]:
    """The local provider, which reports nothing by itself."""
    if kind == "twilio":
        with running(TwilioFake({TWILIO_SID: twilio_inbound.AUTH_TOKEN})) as twilio:
            twilio.apply_script({"statuses": [{"sequence": []}]})
            yield twilio
    elif kind == "whatsapp":
        with running(MetaFake()) as meta:
            yield meta
    else:
        with running(InstagramFake()) as instagram:
            yield instagram


@pytest.fixture(scope="module", params=["twilio", "whatsapp", "instagram"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    kind: str = request.param
    folder = tmp_path_factory.mktemp(kind)
    channel = {"kind": kind, **CHANNELS[kind]}
    shop = {"name": "Bodega Sol", "sub_domain": "bodega-sol", "language": "es", "channels": [channel]}
    shop["documents"] = [{"category": "faq", "title": "¿Hacen envíos?", "content": "Sí, a todo Lima en 24 horas."}]
    (folder / "shop.yaml").write_text(yaml.safe_dump({"merchants": [shop]}), encoding="utf-8")
    with provider(kind) as fake:
        base = {"TWILIO_API_BASE_URL": fake.url} if kind == "twilio" else {"META_GRAPH_BASE_URL": fake.url}
        server = RecadoServer(folder, base | {"TURN_QUIET_SECONDS": "0.05", "PROVIDER_TIMEOUT_SECONDS": "30"})
        server.prepare(folder / "shop.yaml")
        server.start()
        yield Desk(kind, server, fake)
        server.stop()


def names(kind: str) -> list[str]:
    return sorted(path.stem for path in (GOLDEN / kind).iterdir())


def test_every_message_is_stored_and_answered(desk: Desk) -> None:
    posts = [Post(desk.kind, name, n) for n, name in enumerate(names(desk.kind), 100)]
    messages = [post for post in posts if not post.is_status]
    for post in messages:
        if post.name in ABOUT_ANOTHER:
            desk.post(Post(desk.kind, "text", post.number))
    desk.settle()
    for post in messages:
        desk.post(post)
    desk.settle()
    assert desk.rows("SELECT state, error FROM inbox_events WHERE state != 'done'") == []
    heard = desk.rows(
        "SELECT m.kind, json_extract(m.other_data, '$.handled'), (SELECT count(*) FROM messages r "
        "JOIN deliveries d ON d.message_id = r.id WHERE r.turn_id = m.turn_id AND r.role = 'response' "
        "AND d.state = 'sent') FROM messages m WHERE m.role = 'user'"
    )
    assert len(heard) >= MESSAGES[desk.kind]
    assert [row for row in heard if row[2] > 1] == []
    assert {(kind, handled) for kind, handled, answers in heard if not answers} == SILENT[desk.kind]
    taken = desk.fake.messages.values() if isinstance(desk.fake.messages, dict) else desk.fake.messages
    assert len(list(taken)) == desk.rows("SELECT count(*) FROM deliveries WHERE state = 'sent'")[0][0]


def test_every_status_moves_its_delivery(desk: Desk) -> None:
    """Each about a reply of its own, which stands as sent."""
    posts = [Post(desk.kind, name, n) for n, name in enumerate(names(desk.kind), 500)]
    statuses = [post for post in posts if post.is_status]
    for post in statuses:
        desk.post(replace(post, name="text"))
    desk.settle()
    replies = iter(
        desk.rows(
            "SELECT d.id, d.provider_message_id FROM deliveries d JOIN conversations c ON c.id = d.conversation_id "
            "WHERE d.state = 'sent' ORDER BY d.id DESC"
        )
    )
    about: dict[int, str] = {}
    for post in statuses:
        delivery_id, post.ours = next(replies)
        about[delivery_id] = post.name
        desk.post(post)
    desk.settle()
    assert desk.rows("SELECT state, error FROM inbox_events WHERE state != 'done'") == []
    states = {about[row[0]]: row[1] for row in desk.rows("SELECT id, state FROM deliveries") if row[0] in about}
    assert states == {name: AFTERWARDS.get(name, "sent") for name in about.values()}

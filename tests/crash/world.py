"""A server to be killed, the providers that outlive it, and people who keep writing."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from tests.crash.brain import ANSWERS, ASKS, NOTIFICATION, QUESTION, Brain
from tests.crash.server import MortalServer, until
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN, inbound_form, sign
from tests.support import WEB

SHOP = "+14155550100"
STAFF = {"rosa": "+51900000001", "luis": "+51900000002"}
CUSTOMERS = {name: f"+5191111111{n}" for n, name in enumerate(("ana", "beto", "caro", "dani", "elsa", "fito"))}
CLOSED = "ya fue respondida"
MERCHANTS = {
    "merchants": [
        {
            "name": "Bodega Sol",
            "sub_domain": "bodega-sol",
            "language": "es",
            "timezone": "America/Lima",
            "channels": [
                {"kind": "twilio", "address": SHOP, "account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN},
            ],
            "staff": [{"name": name.title(), "phone": phone, "types": ["admin"]} for name, phone in STAFF.items()],
        }
    ]
}


@dataclass
class World:
    """Everything that takes part. `accepted`: the MessageSids that were answered with 200, and their tokens."""

    server: MortalServer
    openai: OpenAIFake
    twilio: TwilioFake
    brain: Brain
    accepted: dict[str, str] = field(default_factory=dict)
    retried: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    """The test is over: nobody need try again."""
    _numbers: dict[str, int] = field(default_factory=dict)

    def form(self, name: str, text: str) -> tuple[str, dict[str, str]]:
        """A new message of a person: its token, and the form that Twilio posts for it."""
        self._numbers[name] = number = self._numbers.get(name, 0) + 1
        token = f"{name}-{number}"
        phone = (CUSTOMERS | STAFF)[name]
        return token, inbound_form(from_=phone, to=SHOP, body=f"{text} #{token}", profile_name=name.title())

    def post(self, form: dict[str, str], patience: float = 60.0) -> None:
        """Deliver a form as Twilio does: again and again, until it is answered with 200."""
        url = f"{self.server.url}/webhooks/twilio"
        headers = {"X-Twilio-Signature": sign(url, form)}
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not self.closing.is_set():
            try:
                answer = WEB.post(url, data=form, headers=headers)
            except httpx.TransportError:
                self.retried += 1
                time.sleep(0.2)
                continue
            assert answer.status_code == 200, answer.text
            self.accepted[form["MessageSid"]] = form["Body"].rpartition("#")[2]
            return
        assert self.closing.is_set(), f"not accepted within {patience:.0f} s"

    def says(self, name: str, text: str) -> str:
        """A person's message, delivered. Its token."""
        token, form = self.form(name, text)
        self.post(form)
        return token

    def bodies(self, phone: str | None = None) -> list[str]:
        """What Twilio took, for one person or for all."""
        messages = list(self.twilio.messages.values())
        return [message.body for message in messages if phone is None or message.form["To"] == f"whatsapp:{phone}"]

    def count(self, fragment: str, phone: str | None = None) -> int:
        return sum(body.count(fragment) for body in self.bodies(phone))

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of the product's database, read without any means to change it."""
        path = f"file:{self.server.folder}/recado.db?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, values).fetchall()

    def settled(self) -> bool:
        """Whether no row has work left."""
        (row,) = self.rows(
            "SELECT (SELECT count(*) FROM inbox_events WHERE state != 'done')"
            " + (SELECT count(*) FROM messages WHERE role = 'user' AND turn_id IS NULL)"
            " + (SELECT count(*) FROM turns WHERE state = 'running')"
            " + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending'))"
            " + (SELECT count(*) FROM notifications WHERE announced_at IS NULL"
            "    OR (status = 'answered' AND returned_at IS NULL)) AS work"
        )
        return bool(row["work"] == 0)


@contextmanager
def open_world(folder: Path, seed: int, environment: dict[str, str]) -> Iterator[World]:
    """A prepared server, not started, with providers in threads of this process."""
    brain = Brain(chance=random.Random(seed))
    with running(OpenAIFake(brain)) as openai, running(TwilioFake()) as twilio:
        providers = {
            "MODEL_PROVIDER": "openai",
            "OPENAI_API_KEY": "x",
            "OPENAI_BASE_URL": openai.base_url,
            "TWILIO_API_BASE_URL": twilio.url,
        }
        server = MortalServer(folder, {**providers, **environment})
        merchants = folder / "merchants.yaml"
        merchants.write_text(yaml.safe_dump(MERCHANTS, allow_unicode=True))
        server.prepare(merchants)
        try:
            yield World(server, openai, twilio, brain)
        finally:
            server.kill()


class People:
    """Threads that write until they are told to stop: customers as they like, staff when they are asked."""

    def __init__(self, world: World, seed: int, pause: tuple[float, float]) -> None:
        self._world = world
        self._pause = pause
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._customers = [self._thread(self._customer, name, seed + n) for n, name in enumerate(CUSTOMERS)]
        self._staff = [self._thread(self._member, name, seed + 100 + n) for n, name in enumerate(STAFF)]

    def start(self) -> None:
        for thread in (*self._customers, *self._staff):
            thread.start()

    def stop_asking(self) -> None:
        """The customers fall silent; what they sent has been accepted when this returns."""
        self._stopping.set()
        for thread in self._customers:
            thread.join(90)
        self.check()

    def finish(self) -> None:
        """Everybody falls silent."""
        self._stopping.set()
        self._world.closing.set()
        for thread in (*self._customers, *self._staff):
            thread.join(20)

    def check(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _thread(self, work: Callable[[str, random.Random], None], name: str, seed: int) -> threading.Thread:
        def run() -> None:
            try:
                work(name, random.Random(seed))
            except BaseException as error:  # noqa: BLE001 - the test's thread raises it
                self._failures.append(error)

        return threading.Thread(target=run, name=name, daemon=True)

    def _customer(self, name: str, chance: random.Random) -> None:
        while not self._stopping.is_set():
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                text = f"Una {ASKS}" if chance.random() < 0.06 else "Hola"
                self._world.says(name, text)
            self._stopping.wait(chance.uniform(*self._pause))

    def _member(self, name: str, chance: random.Random) -> None:
        """Greets, then answers what is theirs to answer, and sometimes what is the other's; one at a time."""
        self._say_and_wait(name, "Buenas")
        mine = sorted(STAFF).index(name)
        seen = 0
        while not self._world.closing.is_set():
            asked = [body for body in self._world.bodies(STAFF[name]) if QUESTION.search(body)]
            for body in asked[seen:]:
                (number,) = set(NOTIFICATION.findall(body))
                if int(number) % len(STAFF) == mine or chance.random() < 0.3:
                    self._say_and_wait(name, f"NOTIF_{number}: {ANSWERS}")
            seen = len(asked)
            self._world.closing.wait(0.05)

    def _say_and_wait(self, name: str, text: str) -> None:
        token = self._world.says(name, text)
        until(lambda: self._world.count(f"<{token}>") or self._world.closing.is_set(), f"a reply to {token}", 90)

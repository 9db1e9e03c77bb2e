"""100,000 payloads for each parser that are not what they should be: no exception but MalformedEvent leaves one, and
what was right beside them in the same post is still there.

The seed is printed; set RECADO_FUZZ_SEED to run one again.
"""

import json
import os
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from recado.channels.base import Channel, Event, InboundMessage, RawEvent
from recado.channels.instagram.channel import InstagramChannel
from recado.channels.meta.events import MetaPost
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork
from recado.channels.twilio.channel import TwilioChannel
from recado.channels.twilio.forms import raw_event, read_form
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.clock import Clock
from recado.db.engine import Database
from recado.errors import MalformedEvent
from recado.text import clean_text
from tests.channels.mutation import ODD, mutate, tear

PAYLOADS = 100_000
TOGETHER = 10
"""How many broken payloads come in one post, as a provider batches them."""
GOLDEN = Path(__file__).parents[1] / "golden"
LONGEST_ID = 400
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
HAPPENED = ("messages", "statuses", "user_preferences")


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("RECADO_FUZZ_SEED") or random.randrange(10_000))
    print(f"RECADO_FUZZ_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


def read(channel: Channel, event: RawEvent) -> Event | None:
    """What the parser makes of a stored event, which an index and a database must have been able to take."""
    assert 0 < len(event.provider_event_id.encode()) <= LONGEST_ID
    assert "\0" not in event.provider_event_id + event.address
    assert len(event.address.encode()) <= LONGEST_ID * 2
    try:
        return channel.parse(event.payload)
    except MalformedEvent:
        return None


def storable(event: Event | None) -> None:
    """The database takes no NUL and no lone surrogate. Of texts and names the service makes what it takes."""
    if isinstance(event, InboundMessage):
        event = replace(event, text=clean_text(event.text), name=clean_text(event.name or ""))
    text = json.dumps(event, default=_plain, ensure_ascii=False, allow_nan=False)
    assert not NUL.search(text), text
    text.encode()


def _plain(value: Any) -> Any:
    names = getattr(value, "__slots__", None)
    return {name: getattr(value, name) for name in names} if names is not None else str(value)


def whatsapp_entries() -> list[Any]:
    paths = sorted((GOLDEN / "whatsapp").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8"))["entry"] for path in paths]


def instagram_entries() -> list[Any]:
    events = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((GOLDEN / "instagram").glob("*.json"))]
    return [[{"id": "178", "time": 1, "messaging": [event]}] for event in events]


CLEAN = {
    "whatsapp": {
        "id": "1",
        "changes": [
            {
                "field": "messages",
                "value": {
                    "metadata": {"phone_number_id": "2"},
                    "contacts": [{"profile": {"name": "Ana"}, "wa_id": "51911111111", "user_id": "PE.1"}],
                    "messages": [
                        {"from": "51911111111", "id": "clean", "timestamp": "1777636800", "type": "text"}
                        | {"text": {"body": "¿hay?"}}
                    ],
                },
            }
        ],
    },
    "instagram": {
        "id": "178",
        "messaging": [
            {"sender": {"id": "1"}, "recipient": {"id": "178"}, "timestamp": 1_777_636_800_000}
            | {"message": {"mid": "clean", "text": "¿hay?"}}
        ],
    },
}
"""An entry of a plain message whose id is its own, to stand beside what is broken."""


def holds_something(entry: Any) -> bool:
    """Whether there is anything in an entry that may be lost: no list of what happened is where it belongs, or one is
    there and not empty. Echoes of our own messages are not wanted.
    """
    lists = [entry[name] for name in ("changes", "messaging") if isinstance(entry, dict) and name in entry]
    lists = [found for found in lists if isinstance(found, list)]
    for change in [change for found in lists for change in found]:
        value = change.get("value") if isinstance(change, dict) else None
        if isinstance(value, dict) and any(name in value for name in HAPPENED):
            lists = [value[name] for name in HAPPENED if name in value]
    return not lists or (any(lists) and "is_echo" not in json.dumps(entry))


@pytest.mark.parametrize("kind", ["whatsapp", "instagram"])
def test_meta(kind: str, chance: random.Random) -> None:
    channel: Channel = (
        WhatsAppChannel("", "24.0", 1.0, 1.0, Clock()) if kind == "whatsapp" else InstagramChannel("", "24.0", 1.0)
    )
    name, posts = (
        ("whatsapp_business_account", whatsapp_entries()) if kind == "whatsapp" else (kind, instagram_entries())
    )
    assert len(posts) > 20
    (alone,) = MetaPost(json.dumps({"object": name, "entry": [CLEAN[kind]]}).encode()).events()
    expected = channel.parse(alone.payload)
    for number in range(PAYLOADS // TOGETHER):
        # What was broken stands beside what was not, in one post.
        broken = [entry for _ in range(TOGETHER) for entry in mutate(chance.choice(posts), chance)]
        body = json.dumps({"object": name, "entry": [*broken, CLEAN[kind]]}, ensure_ascii=number % 2 == 0)
        events = MetaPost(body.encode("utf-8", "replace")).events()
        kept = [event for event in events if event.provider_event_id == "clean"]
        assert [channel.parse(event.payload) for event in kept] == [expected]
        assert len(events) > sum(map(holds_something, broken)), "a part is gone"
        torn = MetaPost(tear(body.encode("utf-8", "replace"), chance)).events() if number % 2 else []
        for event in (*events, *torn):
            storable(read(channel, event))


def twilio_forms() -> list[list[str]]:
    return [path.read_text(encoding="utf-8").strip().split("&") for path in sorted((GOLDEN / "twilio").glob("*.form"))]


def test_twilio(chance: random.Random) -> None:
    channel, forms = TwilioChannel("", "", 1.0), twilio_forms()
    assert len(forms) > 20
    for number in range(PAYLOADS):
        fields = list(chance.choice(forms))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(fields))
            name, _, value = fields[at].partition("=")
            fields[at] = chance.choice(
                (f"{name}={quote_plus(_text(chance.choice(ODD)), errors='replace')}", value, name)
            )
        if number % 2:
            chance.shuffle(fields)
            del fields[chance.randrange(len(fields)) :]
        body = "&".join(fields).encode()
        if number % 4 == 0:
            body = tear(body, chance)
        try:
            form = read_form(body)
        except ValueError:
            continue  # the webhook answers 400
        storable(read(channel, raw_event(form, body, "fallback")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_the_simulator(chance: random.Random, tmp_path: Path) -> None:
    channel = SimulatorChannel(SimulatorNetwork(Database(f"sqlite+aiosqlite:///{tmp_path}/none.db"), Clock()))
    message = {"id": "m1", "phone": "+51911111111", "name": "Ana", "text": "hola", "kind": "text", "reply_to": "m0"}
    posts: list[Any] = [message, {"id": "m2", "status": "read", "delivery_id": 7}]
    for number in range(PAYLOADS):
        body = json.dumps(mutate(chance.choice(posts), chance)).encode()
        event = RawEvent("simulator", "+15550100", "m1", tear(body, chance) if number % 4 == 0 else body)
        read(channel, event)

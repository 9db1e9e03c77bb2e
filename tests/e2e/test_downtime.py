"""The server is off while people write: after the start each is answered, once, and nothing is answered again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import ALL_SHOPS, World, query, until
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.support import RecadoServer, copy_database

SHOP = ALL_SHOPS[0]
PEOPLE, MESSAGES = 20, 5


def looks(world: World) -> int:
    """How often the server has asked what was sent to the shop's number."""
    asked = [entry["query"].get("To") for entry in world.twilio.requests.entries("list")]
    return asked.count(f"whatsapp:{SHOP.twilio}")


def caught_up_to(world: World) -> str:
    """Until when all of that was taken in; the text sorts as the moment does."""
    sql = "SELECT caught_up_to FROM channel_accounts WHERE address = ?"
    return str(query(world.server, sql, SHOP.twilio)[0]["caught_up_to"])


def writes(world: World, person: int, body: str) -> int | None:
    """Somebody sends a message, whether the server listens or not; how the webhook answered."""
    given = {"from": SHOP.customer(person), "to": SHOP.twilio, "body": body, "account_sid": SHOP.account_sid}
    answer = world.client.post(f"{world.twilio.url}/_person", json=given).raise_for_status().json()["answer"]
    return int(answer) if answer is not None else None


def restart(world: World) -> None:
    """Start the server and wait until it has looked for what was missed."""
    before, looked = caught_up_to(world), looks(world)
    world.server.start()
    until(lambda: looks(world) > looked and caught_up_to(world) > before, world.log_tail)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, prepared_shops: Path) -> Iterator[World]:
    """A hundred messages have come while the server was off, and it has answered them after its start."""
    with (
        running(TwilioFake({shop.account_sid: shop.auth_token for shop in ALL_SHOPS})) as twilio,
        running(OpenAIFake()) as openai,
    ):
        providers = {
            "MODEL_PROVIDER": "openai",
            "OPENAI_API_KEY": "x",
            "OPENAI_BASE_URL": openai.base_url,
            "TWILIO_API_BASE_URL": twilio.url,
        }
        world = World(RecadoServer(tmp_path_factory.mktemp("downtime"), providers), twilio, openai)
        copy_database(prepared_shops, world.server.folder)
        twilio.apply_script({"webhook": f"{world.server.url}/webhooks/twilio"})
        for number in range(MESSAGES):
            for person in range(PEOPLE):
                assert writes(world, person, f"mensaje-{person}-{number}") is None
        restart(world)
        world.quiet()
        yield world
        world.server.stop()


def texts(world: World, person: int) -> list[str]:
    """What this person has said, in the order of their conversation."""
    rows = query(
        world.server,
        "SELECT m.text FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " JOIN contacts p ON p.id = c.contact_id WHERE p.channel_user_id = ? AND m.role = 'user' ORDER BY m.id",
        SHOP.customer(person),
    )
    return [row["text"] for row in rows]


def test_each_message_is_there_once_and_in_order(world: World) -> None:
    for person in range(PEOPLE):
        wanted = [f"mensaje-{person}-{number}" for number in range(MESSAGES)]
        assert texts(world, person) == wanted


def test_each_is_answered_once(world: World) -> None:
    unanswered = query(world.server, "SELECT id FROM messages WHERE role = 'user' AND turn_id IS NULL")
    assert unanswered == []
    for person in range(PEOPLE):
        answers = [form["Body"] for form in world.forms(SHOP.customer(person))]
        # A burst is answered once, with its last message in sight.
        assert answers == [f"echo: mensaje-{person}-{MESSAGES - 1}"]


def test_the_model_has_seen_every_message_in_order(world: World) -> None:
    [seen] = [str(chat["messages"]) for chat in world.chats("mensaje-7-0")]
    places = [seen.index(f"mensaje-7-{number}") for number in range(MESSAGES)]
    assert places == sorted(places)


def test_the_log_says_how_many_were_recovered(world: World) -> None:
    log = world.server.log.read_text(errors="replace")
    assert f"recovered={PEOPLE * MESSAGES}" in log
    assert SHOP.customer(3) not in log


def test_a_message_that_arrives_and_another_start_make_nothing_new(world: World) -> None:
    assert writes(world, 0, "ahora") == 200
    world.gets(SHOP.customer(0), 2)
    world.quiet()
    heard = "SELECT count(*) AS n FROM messages WHERE role = 'user'"
    sends, messages = len(world.twilio.sends()), query(world.server, heard)[0]["n"]
    world.server.stop()
    restart(world)
    world.quiet()
    assert len(world.twilio.sends()) == sends
    assert query(world.server, heard)[0]["n"] == messages

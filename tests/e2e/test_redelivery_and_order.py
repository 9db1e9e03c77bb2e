"""Never twice, in order, in parallel, and nobody starved: what is promised about every conversation."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, query, until, when
from tests.fakes.openai_rules import last_text
from tests.fakes.recorder import JsonObject
from tests.fakes.twilio_inbound import inbound_form

CROWD = 50


class CountingBrain:
    """Answers after `latency` seconds, each message by name; `most` were being answered at once."""

    def __init__(self, latency: float) -> None:
        self.latency = latency

    def __call__(self, request: JsonObject) -> JsonObject:
        return {"content": f"Sobre «{last_text(request, 'user')}»: sí.", "latency": self.latency}


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    return start_world()


@pytest.fixture(autouse=True)
def calm(world: World) -> Iterator[None]:
    yield
    world.quiet()
    world.openai.reset()


def test_twenty_identical_posts_are_one_message(world: World) -> None:
    shop, ana = ALL_SHOPS[0], ALL_SHOPS[0].customer(1)
    world.openai.apply_script([when("hola", {"content": "¡Hola!"})])
    form = inbound_form(from_=ana, to=shop.twilio, body="hola", account_sid=shop.account_sid)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: world.post(form, shop.auth_token).status_code, range(20)))
    assert answers == [200] * 20
    world.gets(ana)
    world.quiet()
    assert world.post(form, shop.auth_token).status_code == 200
    world.quiet()
    assert len(world.forms(ana)) == 1
    assert len(world.chats("hola")) == 1
    counts = "SELECT (SELECT count(*) FROM inbox_events WHERE provider_event_id = ?) AS events,"
    counts += " (SELECT count(*) FROM messages WHERE provider_message_id = ? AND role = 'user') AS messages"
    row = query(world.server, counts, form["MessageSid"], form["MessageSid"])[0]
    assert (row["events"], row["messages"]) == (1, 1)

    world.server.stop()
    world.server.start()
    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(lambda _: world.post(form, shop.auth_token).status_code, range(5))) == {200}
    world.openai.apply_script([when("¿sigues ahí?", {"content": "Sí."})])
    world.inbound(shop, ana, "¿sigues ahí?")
    assert world.gets(ana, 2)[-1]["Body"] == "Sí."
    assert len(world.openai.chats()) == 2


def test_fifty_messages_of_one_person_are_answered_in_order(world: World) -> None:
    shop, ana = ALL_SHOPS[1], ALL_SHOPS[1].customer(1)
    world.openai.brain = CountingBrain(latency=0.3)
    for number in range(CROWD):
        world.inbound(shop, ana, f"mensaje-{number:02}")
        time.sleep(0.03)  # a person who types on while the agent thinks, so that several turns are needed
    until(lambda: f"mensaje-{CROWD - 1}" in str(world.forms(ana)[-1:]), lambda: world.forms(ana))
    world.quiet()

    sql = "SELECT m.id, m.text, m.turn_id, m.role FROM messages m JOIN conversations c ON c.id = m.conversation_id"
    sql += " JOIN contacts p ON p.id = c.contact_id WHERE p.channel_user_id = ? ORDER BY m.id"
    rows = query(world.server, sql, ana)
    said = [row for row in rows if row["role"] == "user"]
    assert [row["text"] for row in said] == [f"mensaje-{number:02}" for number in range(CROWD)]
    turns = [row["turn_id"] for row in said]
    assert turns == sorted(turns)
    for reply in (row for row in rows if row["role"] == "response"):
        answered = [row for row in said if row["turn_id"] == reply["turn_id"]]
        assert answered, "a reply without a message"
        assert answered[-1]["id"] < reply["id"]
        assert reply["text"] == f"Sobre «{answered[-1]['text']}»: sí."
    # Each turn has one reply, they were sent in order, and the last one answers the last message.
    sent = [form["Body"] for form in world.forms(ana)]
    assert sent == [row["text"] for row in rows if row["role"] == "response"]
    assert len(sent) == len(set(turns)) < CROWD

    for chat in (chat for chat in world.chats("mensaje-") if "tools" in chat):  # not the one that summarises
        seen = re.findall(r"^mensaje-(\d\d)$", "\n".join(str(m["content"]) for m in chat["messages"]), re.MULTILINE)
        assert seen == sorted(set(seen)), "each message once in a request, in order"
        assert seen == [f"{number:02}" for number in range(int(seen[0]), int(seen[-1]) + 1)], "none left out"


def test_fifty_people_are_answered_at_once(world: World) -> None:
    shop = ALL_SHOPS[2]
    counting = CountingBrain(latency=0.0)
    # Nobody is answered before everybody is being thought about: handled one after the other, this would never end.
    world.openai.brain = lambda request: {**counting(request), "hold": "crowd"}
    people = [shop.customer(number) for number in range(CROWD)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda person: world.inbound(shop, person, f"soy-{person}"), people))
    until(lambda: len(world.openai.chats()) == CROWD, "all fifty are thought about at once", 60)
    assert not any(world.forms(person) for person in people)
    world.openai.gates.release("crowd")
    until(lambda: all(world.forms(person) for person in people), "an answer for each", 60)
    assert len(world.openai.chats()) == CROWD
    for person in people:
        assert [form["Body"] for form in world.forms(person)] == [f"Sobre «soy-{person}»: sí."]


def test_one_shop_s_crowd_does_not_starve_another(start_world: StartWorld) -> None:
    world = start_world({"WORKER_CONCURRENCY": "8"})
    busy, calm = ALL_SHOPS[3], ALL_SHOPS[4]
    world.openai.brain = CountingBrain(latency=0.5)
    crowd = [busy.customer(number) for number in range(CROWD)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda person: world.inbound(busy, person, f"soy-{person}"), crowd))
    ben = calm.customer(1)
    world.inbound(calm, ben, "¿y yo?")
    world.gets(ben)
    waiting = sum(not world.forms(person) for person in crowd)
    assert waiting >= CROWD // 4, "Ben waited for the other shop's crowd"
    until(lambda: all(world.forms(person) for person in crowd), "an answer for the crowd", 40)
    assert all(len(world.forms(person)) == 1 for person in crowd)

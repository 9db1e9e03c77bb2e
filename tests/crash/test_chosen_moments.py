"""`kill -9` at moments that are chosen: a provider holds its answer, the server dies, the next one goes on."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.brain import ASKS, NOTIFICATION, QUESTION, Step
from tests.crash.evidence import Ledger
from tests.crash.server import until
from tests.crash.world import CLOSED, CUSTOMERS, STAFF, World, open_world

PATIENCE = 20.0


@pytest.fixture(scope="module")
def running_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("chosen"), 1, {"TURN_QUIET_SECONDS": "0.05"}) as world:
        world.server.launch()
        world.server.wait_ready()
        for name in STAFF:
            token = world.says(name, "Buenas")
            until(
                lambda token=token: world.count(f"<{token}>"), "the staff has written, their windows are open", PATIENCE
            )
        until(world.settled, "a quiet start", PATIENCE)
        yield world


@pytest.fixture
def world(running_world: World) -> Iterator[World]:
    yield running_world
    running_world.twilio.apply_script({"faults": [], "statuses": []})
    running_world.brain.interfere.clear()


@pytest.fixture(scope="module")
def ledger(running_world: World) -> Ledger:
    return Ledger(running_world)


def kill(world: World, ledger: Ledger) -> None:
    world.server.cut_down()
    ledger.note_kill()
    for fake in (world.openai, world.twilio):
        fake.gates.release(proceed=False)


def restart(world: World) -> None:
    world.server.launch()
    world.server.wait_ready()


def is_asked(ledger: Ledger, step: Step) -> None:
    until(lambda: step in ledger.steps(), f"a model call for {step}", PATIENCE)


def is_answered_once(world: World, ledger: Ledger, token: str, name: str) -> None:
    until(lambda: world.count(f"<{token}>") and world.settled(), f"an answer to {token}", PATIENCE)
    assert world.count(f"<{token}>", (CUSTOMERS | STAFF)[name]) == 1
    assert world.count(f"<{token}>") == 1
    ledger.check_requests()


def test_while_the_model_thinks(world: World, ledger: Ledger) -> None:
    token, form = world.form("ana", "Hola")
    step = ("customer", token, 0)
    world.brain.interfere[step] = {"hold": "model"}
    world.post(form)
    is_asked(ledger, step)
    kill(world, ledger)
    restart(world)
    is_answered_once(world, ledger, token, "ana")
    assert ledger.steps().count(step) == 2


def test_in_the_second_call_of_a_turn_the_first_is_not_made_again(world: World, ledger: Ledger) -> None:
    token, form = world.form("ana", "Hola")
    first, second = ("customer", token, 0), ("customer", token, 1)
    world.brain.interfere |= {first: {"content": ""}, second: {"hold": "model"}}
    world.post(form)
    is_asked(ledger, second)
    kill(world, ledger)
    assert ledger.is_written(first)
    restart(world)
    is_answered_once(world, ledger, token, "ana")
    assert [ledger.steps().count(step) for step in (first, second)] == [1, 2]


def test_while_a_message_that_came_meanwhile_waits(world: World, ledger: Ledger) -> None:
    """The draft on disk is dropped after the restart, for a second one with both messages."""
    token, form = world.form("ana", "Hola")
    world.brain.interfere[("customer", token, 0)] = {"hold": "model"}
    world.post(form)
    is_asked(ledger, ("customer", token, 0))
    later = world.says("ana", "Una cosa más")
    kill(world, ledger)
    restart(world)
    is_answered_once(world, ledger, token, "ana")
    is_answered_once(world, ledger, later, "ana")
    (row,) = world.rows(
        "SELECT turns.draft FROM turns JOIN messages ON turn_id = turns.id WHERE text LIKE ?", f"%#{later}"
    )
    assert row["draft"] == 2


@pytest.mark.parametrize("moment", ["at once", "while it is marked as read"])
def test_between_the_200_and_the_turn(world: World, ledger: Ledger, moment: str) -> None:
    token, form = world.form("beto", "Hola")
    shown = len(world.twilio.requests.entries("typing"))
    if moment != "at once":
        world.twilio.apply_script({"faults": [{"when": {"op": "typing"}, "fault": {"hang": True}, "times": 1}]})
    world.post(form)
    if moment != "at once":
        until(lambda: len(world.twilio.requests.entries("typing")) > shown, "marked as read", PATIENCE)
    kill(world, ledger)
    assert world.rows("SELECT 1 FROM turns JOIN messages ON turn_id = turns.id WHERE text = ?", form["Body"]) == []
    restart(world)
    world.post(form)  # the provider delivers it once more
    is_answered_once(world, ledger, token, "beto")
    assert len(world.rows("SELECT 1 FROM messages WHERE text = ?", form["Body"])) == 1


def lookups(world: World, person: str) -> int:
    """How often Twilio was asked what it has for a person; what people sent to us is listed as well."""
    return sum(entry["query"].get("To") == person for entry in world.twilio.requests.entries("list"))


@pytest.mark.parametrize("lookup", ["works", "fails"])
@pytest.mark.parametrize("taken", [True, False])
def test_while_a_reply_is_being_sent(world: World, ledger: Ledger, taken: bool, lookup: str) -> None:
    """Nobody knows whether Twilio has it. It is looked up, and sent again only when Twilio does not."""
    to = {"to": f"whatsapp:{CUSTOMERS['caro']}"}
    faults = [{"when": to, "fault": {"hang": "after" if taken else True}, "times": 1}]
    if lookup == "fails":
        faults.append({"when": {"op": "list", **to}, "fault": {"status": 429}, "times": 1})
    silent = {"sequence": ["sent"], "hold": "status"}  # else the callback settles it
    world.twilio.apply_script({"faults": faults, "statuses": [silent]})
    before, looked_up = len(world.twilio.sends()), lookups(world, to["to"])
    token = world.says("caro", "Hola")
    until(lambda: len(world.twilio.sends()) > before, "Twilio is asked to send", PATIENCE)
    kill(world, ledger)
    restart(world)
    is_answered_once(world, ledger, token, "caro")
    assert len(world.twilio.sends()) == before + (1 if taken else 2)
    assert lookups(world, to["to"]) == looked_up + (2 if lookup == "fails" else 1)
    assert {row["state"] for row in world.rows("SELECT state FROM deliveries")} <= {"sent", "delivered"}


def test_while_the_answer_is_written_for_the_customer(world: World, ledger: Ledger) -> None:
    token = world.says("dani", f"Una {ASKS}")
    notification = is_asked_of_staff(world, token)
    step = ("reply", token, 0)
    world.brain.interfere[step] = {"hold": "model"}
    answer = world.says("rosa", f"NOTIF_{notification}: por la tarde")
    is_asked(ledger, step)
    kill(world, ledger)
    restart(world)
    is_answered_once(world, ledger, answer, "rosa")
    is_answered_once(world, ledger, token, "dani")
    until(lambda: world.count(f"[[{token}]]"), "the team's answer", PATIENCE)
    assert world.count(f"[[{token}]]") == 1
    assert ledger.steps().count(step) == 2
    closings = [phone for phone in STAFF.values() for body in world.bodies(phone) if is_closing(body, notification)]
    assert closings == [STAFF["luis"]]


@pytest.mark.parametrize("lost", [1, 2])
def test_between_a_step_and_its_checkpoint(world: World, ledger: Ledger, lost: int) -> None:
    """LangGraph writes what a step gave and then the checkpoint, each by itself. A kill between the two is too rare to
    wait for: the checkpoints that would not have been written are taken away."""
    earlier = world.says("fito", "Hola")
    is_answered_once(world, ledger, earlier, "fito")
    token, form = world.form("fito", "Hola otra vez")
    world.brain.interfere[("customer", token, 0)] = {"hold": "model"}
    world.post(form)
    is_asked(ledger, ("customer", token, 0))
    kill(world, ledger)
    take_checkpoints_away(world.server.folder, token, lost)
    restart(world)
    is_answered_once(world, ledger, token, "fito")
    assert world.count(f"<{earlier}>") == 1


def is_asked_of_staff(world: World, token: str) -> int:
    """The number of the notification, once all of the staff has it."""

    def asked() -> list[str]:
        return [body for body in world.bodies() if token in QUESTION.findall(body) and NOTIFICATION.search(body)]

    until(lambda: len(asked()) == len(STAFF), "the staff is asked", PATIENCE)
    return int(NOTIFICATION.findall(asked()[0])[0])


def is_closing(body: str, notification: int) -> bool:
    return CLOSED in body and f"NOTIF_{notification} " in body


def take_checkpoints_away(folder: Path, token: str, count: int) -> None:
    """Undo the last `count` checkpoints of the thread that is about a token, and what was written after them."""
    with closing(sqlite3.connect(folder / "checkpoints.db")) as connection, connection:
        ((thread,),) = connection.execute(
            "SELECT DISTINCT thread_id FROM checkpoints WHERE instr(checkpoint, ?)", (token.encode(),)
        ).fetchall()
        newest = connection.execute(
            "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id DESC", (thread,)
        ).fetchall()
        assert len(newest) > count
        for (checkpoint,) in newest[:count]:
            for table in ("checkpoints", "writes"):
                connection.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id = ?",  # noqa: S608 - our own names
                    (thread, checkpoint),
                )

"""`kill -9` at random moments while messages arrive: everything is answered once, and nothing is asked twice.

The seed is printed; set RECADO_CRASH_SEED to run one again (the moments are the same, the machine's timing is not).
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.brain import NOTIFICATION, QUESTION
from tests.crash.evidence import Ledger
from tests.crash.server import until
from tests.crash.world import CLOSED, CUSTOMERS, STAFF, People, World, open_world

KILLS = 36
STARTUP_KILLS = 6
PLANS = ("start",) * STARTUP_KILLS + ("time", "post", "model", "send", "time", "model") * ((KILLS - STARTUP_KILLS) // 6)
STUCK_SECONDS = 45.0
"""How long nothing may be sent at the end while something is left to do: longer than the sweep's grace of 20 s."""
SLOW_SENDS = {
    "faults": [
        {"when": {"contains": "1"}, "fault": {"latency": 0.04, "after": True}},
        {"when": {"contains": "2"}, "fault": {"latency": 0.04}},
    ]
}


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("RECADO_CRASH_SEED") or random.SystemRandom().randrange(10_000))


@pytest.fixture
def world(tmp_path: Path, seed: int) -> Iterator[World]:
    with open_world(tmp_path, seed, {"TURN_QUIET_SECONDS": "0.05"}) as world:
        world.brain.latency = (0.02, 0.2)
        world.twilio.apply_script(SLOW_SENDS)
        yield world


def wait_for_more(count: Callable[[], int], more: int, seconds: float) -> None:
    """Until `more` have come, or the time is over."""
    target, deadline = count() + more, time.monotonic() + seconds
    while count() < target and time.monotonic() < deadline:
        time.sleep(0.004)


def live_until_killed(world: World, plan: str, chance: random.Random) -> None:
    """One life of the server: start it, let it come to the moment that the plan says, kill it."""
    world.server.launch()
    if plan == "start":
        time.sleep(chance.uniform(0.0, 1.0))
    else:
        world.server.wait_ready()
        time.sleep(chance.uniform(0.0, 1.5))
    if plan == "post":
        wait_for_more(lambda: len(world.accepted), 1, 3)
        time.sleep(chance.uniform(0.0, 0.03))
    if plan == "model":
        wait_for_more(lambda: world.brain.calls, chance.randint(1, 3), 3)
        time.sleep(chance.uniform(0.0, 0.25))
    if plan == "send":
        wait_for_more(lambda: len(world.twilio.messages), chance.randint(1, 3), 3)
        time.sleep(chance.uniform(0.0, 0.05))
    world.server.cut_down()


def test_everything_is_answered_once_and_nothing_is_asked_twice(world: World, seed: int) -> None:
    began = time.monotonic()
    chance = random.Random(seed)
    plans = list(PLANS)
    chance.shuffle(plans)
    ledger = Ledger(world)
    people = People(world, seed, pause=(0.15, 1.0))
    people.start()
    try:
        for plan in plans:
            live_until_killed(world, plan, chance)
            ledger.note_kill()
            people.check()
        world.server.start()
        killing = time.monotonic() - began
        people.stop_asking()
        drain(world, lambda: world.settled() and not world.rows("SELECT 1 FROM notifications WHERE answer_key IS NULL"))
    finally:
        people.finish()
    people.check()
    # The staff may have answered something more before they fell silent.
    drain(world, world.settled)
    ledger.check_requests()
    check_messages(world)
    check_deliveries(world)
    check_notifications(world)
    check_coverage(ledger)
    report(world, ledger, seed, killing, time.monotonic() - began)


def drain(world: World, is_empty: Callable[[], bool]) -> None:
    """Until nothing is left to do. Raises AssertionError when something is left and nothing happens any more."""
    while not is_empty():
        sent = len(world.twilio.messages)
        until(lambda sent=sent: len(world.twilio.messages) > sent or is_empty(), "what is left to do", STUCK_SECONDS)


def check_messages(world: World) -> None:
    """Each accepted message is in one turn that is done, and in one reply."""
    stored = world.rows(
        "SELECT provider_message_id AS sid, text, turns.state FROM messages"
        " LEFT JOIN turns ON turns.id = messages.turn_id WHERE role = 'user'"
    )
    assert [row["text"] for row in stored if row["state"] != "done"] == []
    times_stored = Counter(row["sid"] for row in stored)
    assert set(world.accepted) <= set(times_stored)
    assert set(times_stored.values()) == {1}
    tokens = [row["text"].rpartition("#")[2] for row in stored]
    wrong = {token: world.count(f"<{token}>") for token in tokens if world.count(f"<{token}>") != 1}
    assert wrong == {}, f"answered so often: {wrong}"


def check_deliveries(world: World) -> None:
    """Nothing went out twice, nothing failed, and Twilio and the rows agree."""
    rows = world.rows("SELECT state, count(*) AS n FROM deliveries GROUP BY state")
    states = {row["state"]: row["n"] for row in rows}
    assert set(states) <= {"sent", "delivered", "read"}
    assert sum(states.values()) == len(world.twilio.messages)
    sent = Counter((message.form["To"], message.body) for message in world.twilio.messages.values())
    assert [twice for twice, count in sent.items() if count > 1] == []
    known = {row["provider_message_id"] for row in world.rows("SELECT provider_message_id FROM deliveries")}
    assert known == set(world.twilio.messages)


def check_notifications(world: World) -> None:
    """Each question went to each member of the staff once, its answer to its customer once, its closing once."""
    notifications = world.rows("SELECT id, context ->> 'question' AS question, answered_by FROM notifications")
    answered_by = {row["id"]: row["phone"] for row in world.rows("SELECT id, phone FROM merchant_users")}
    for row in notifications:
        (token,) = QUESTION.findall(row["question"])
        named = f"NOTIF_{row['id']} "
        for phone in STAFF.values():
            asked = [body for body in world.bodies(phone) if f"({token})" in body and CLOSED not in body]
            assert len([body for body in asked if named in body]) == 1, (row["id"], asked)
            closed = [body for body in world.bodies(phone) if CLOSED in body and named in body]
            assert len(closed) == (phone != answered_by[row["answered_by"]]), (row["id"], phone, closed)
        assert world.count(f"[[{token}]]", CUSTOMERS[token.partition("-")[0]]) == 1
        assert world.count(f"[[{token}]]") == 1
    asked_about = [body for body in world.bodies() if NOTIFICATION.search(body)]
    assert bool(asked_about) == bool(notifications)


def check_coverage(ledger: Ledger) -> None:
    """The kills fell into work: else the run proves nothing."""
    hit = Counter(place for kill in ledger.kills for place, count in kill.found.items() if count)
    assert len(ledger.kills) >= 30
    for place in ("inbox", "quiet", "turn", "model", "pending", "sending", "request", "answer"):
        assert hit[place] >= 2, hit
    # A call that is repeated is one that was under way when the server was killed: several may be at one kill.
    assert ledger.repeated() <= sum(len(kill.open_calls) for kill in ledger.kills)


def report(world: World, ledger: Ledger, seed: int, killing: float, whole: float) -> None:
    hit = Counter(place for kill in ledger.kills for place, count in kill.found.items() if count)
    (turns,) = world.rows("SELECT count(*) AS n, sum(draft > 1) AS redrafted FROM turns")
    (notified,) = world.rows("SELECT count(*) AS n FROM notifications")
    figures = {
        "seed": seed,
        "kills": len(ledger.kills),
        "messages": len(world.accepted),
        "posted again": world.retried,
        "turns": turns["n"],
        "of several drafts": turns["redrafted"],
        "notifications": notified["n"],
        "sends": len(world.twilio.messages),
        "looked up": len(world.twilio.requests.entries("list")),
        "model calls": len(ledger.steps()),
        "under way at a kill": sum(len(kill.open_calls) for kill in ledger.kills),
        "repeated": ledger.repeated(),
        "kills that found": dict(hit),
        "seconds": (round(killing), round(whole)),
    }
    print("\n" + "\n".join(f"{name}: {value}" for name, value in figures.items()))  # noqa: T201

"""Which notification a member of the staff means, and which ones may be answered for them."""

import itertools
from typing import Any

import pytest

from recado.notifications.schemas import Pending
from recado.turns.context import Incoming, which_notification


def incoming(*messages: tuple[str, str | None]) -> list[Incoming]:
    return [Incoming(kind="text", text=text, quoted=quoted) for text, quoted in messages]


def pending(*numbers: int) -> list[Pending]:
    return [Pending(notification_id=f"NOTIF_{n}", question=f"q{n}", customer="Ana", answer_schema={}) for n in numbers]


def target(number: int, because: str) -> tuple[dict[str, str], list[str]]:
    return {"notification_id": f"NOTIF_{number}", "because": because}, [f"NOTIF_{number}"]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("said", "is_open", "expected"),
    [
        # a quoted message decides, whatever else is named or open
        ([("sí", "NOTIF_2")], (1, 2, 3), target(2, "quoted")),
        ([("para NOTIF_1: sí", "NOTIF_2")], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_2"), ("y gracias", None)], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_2"), ("ah, y otra cosa", "NOTIF_2")], (1, 2), target(2, "quoted")),
        ([("sí", "NOTIF_9")], (1, 2), target(9, "quoted")),
        ([("sí", "NOTIF_1"), ("no", "NOTIF_2")], (1, 2, 3), (None, ["NOTIF_1", "NOTIF_2"])),
        # else a named one
        ([("NOTIF_2: sí", None)], (1, 2), target(2, "named")),
        ([("notif 2 sí", None)], (1, 2), target(2, "named")),
        ([("Notif-2 sí", None)], (1,), target(2, "named")),
        ([("notif2 sí", None)], (), target(2, "named")),
        ([("NOTIF_2", None), ("NOTIF_2: sí", None)], (1, 2), target(2, "named")),
        ([("NOTIF_1 sí, NOTIF_2 no", None)], (1, 2, 3), (None, ["NOTIF_1", "NOTIF_2"])),
        ([("NOTIF_1", None), ("y NOTIF_2", None)], (1, 2), (None, ["NOTIF_1", "NOTIF_2"])),
        # else the only open one
        ([("sí", None)], (7,), target(7, "only one open")),
        ([("XNOTIF_2 sí", None)], (7,), target(7, "only one open")),
    ],
)
def test_which_notification_is_meant(said: list[Any], is_open: tuple[int, ...], expected: Any, asked: bool) -> None:
    assert which_notification(incoming(*said), pending(*is_open), asked) == expected


@pytest.mark.parametrize(("asked", "answerable"), [(False, []), (True, None)])
@pytest.mark.parametrize("is_open", [(), (1, 2), (1, 2, 3)])
def test_when_nothing_tells_they_are_asked_first(
    is_open: tuple[int, ...], asked: bool, answerable: list[str] | None
) -> None:
    assert which_notification(incoming(("sí", None)), pending(*is_open), asked) == (None, answerable)


def tap(quoted: str | None) -> Incoming:
    return Incoming(kind="button", text="Responder", quoted=quoted, button="answer")


TAPPED = [
    ([tap("NOTIF_2")], (1, 2), ("NOTIF_2", "tapped"), []),
    ([tap(None)], (1,), ("NOTIF_1", "tapped"), []),
    ([tap("NOTIF_9")], (1, 2), ("NOTIF_9", "tapped, but it is closed"), []),
    ([tap(None)], (1, 2), None, []),
    ([tap("NOTIF_1"), tap("NOTIF_2")], (1, 2), None, []),
    # with what they say, a tap is a quote
    ([tap("NOTIF_2"), *incoming(("sí hay", None))], (1, 2), ("NOTIF_2", "quoted"), ["NOTIF_2"]),
]


@pytest.mark.parametrize(("said", "is_open", "meant", "answerable"), TAPPED)
def test_a_tap_says_which_and_answers_nothing_yet(
    said: list[Incoming], is_open: tuple[int, ...], meant: tuple[str, str] | None, answerable: list[str]
) -> None:
    about = meant and {"notification_id": meant[0], "because": meant[1]}
    for asked_which in (False, True):
        assert which_notification(said, pending(*is_open), asked_which) == (about, answerable)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("sí hay", None), target(2, "asked for")),
        (("sí hay", "NOTIF_1"), target(1, "quoted")),
        (("NOTIF_1: sí hay", None), target(1, "named")),
    ],
)
@pytest.mark.parametrize("is_open", [(1, 2), (1,)])
def test_what_follows_a_tap_is_the_answer_unless_it_says_otherwise(
    said: tuple[str, str | None], expected: Any, is_open: tuple[int, ...]
) -> None:
    """Also when it was closed meanwhile: the only other one that is open must not get this answer."""
    assert which_notification(incoming(said), pending(*is_open), False, "NOTIF_2") == expected


def test_never_may_an_answer_go_to_one_that_was_not_pointed_at() -> None:
    texts = ["sí", "NOTIF_1", "NOTIF_1 NOTIF_2", ""]
    quotes = [None, "NOTIF_1", "NOTIF_3"]
    for one, two in itertools.product(itertools.product(texts, quotes), repeat=2):
        for numbers in ((), (1,), (1, 2), (1, 2, 3)):
            meant, answerable = which_notification(incoming(one, two), pending(*numbers), False)
            assert answerable is not None
            if meant:
                assert answerable == [meant["notification_id"]]
            pointed = {quote for _, quote in (one, two) if quote} or {
                word for text, _ in (one, two) for word in text.split() if word.startswith("NOTIF")
            }
            assert set(answerable) <= (pointed or {p["notification_id"] for p in pending(*numbers)})
            assert pointed or len(answerable) <= 1

"""The buttons under the question which notification is meant."""

from typing import Any, cast

import pytest

from graphs.conversation.nodes import ConversationNodes
from recado.notifications.schemas import Pending
from recado.turns.context import Incoming, which_notification


def pending(*questions: str) -> list[Pending]:
    return [
        Pending(notification_id=f"NOTIF_{n}", question=question, customer="Ana", answer_schema={})
        for n, question in enumerate(questions, 1)
    ]


async def drafted(**state: Any) -> dict[str, Any]:
    """The last reply of a turn in which a member of the staff said something that may be for any of them."""
    nodes = cast(Any, ConversationNodes)(*[None] * len(ConversationNodes.__dataclass_fields__))
    given = {"replies": [], "kept": [], "prompt": "staff@0", "target": None, "answerable": [], "acted": False}
    given["exchange"] = [{"role": "assistant", "content": "¿Para cuál es?"}]
    return dict((await nodes.finish(given | state))["replies"][-1])


@pytest.mark.parametrize("number", [1, 3, 4, 10])
async def test_each_open_one_is_a_choice(number: int) -> None:
    reply = await drafted(pending=pending(*(f"¿Pregunta {n}?" for n in range(number))))
    assert [(choice["id"], choice["title"]) for choice in reply["buttons"]] == [
        (f"NOTIF_{n}", f"NOTIF_{n}") for n in range(1, number + 1)
    ]
    assert reply["other_data"] == {"asked_which": True}


async def test_without_room_for_all_there_are_none() -> None:
    assert (await drafted(pending=pending(*["¿Sí?"] * 11)))["buttons"] == []


async def test_a_long_question_is_shortened_and_on_one_line() -> None:
    reply = await drafted(pending=pending("¿Qué tal\n\nesto?  " * 20, "¿Sí?"))
    long, short = (choice["description"] for choice in reply["buttons"])
    assert long.startswith("¿Qué tal esto? ¿Qué")
    assert (len(long), long[-1]) == (72, "…")
    assert "\n" not in long
    assert short == "¿Sí?"


async def test_only_who_is_asked_which_one_gets_them() -> None:
    meant = {"notification_id": "NOTIF_1", "because": "named"}
    for state in ({"target": meant, "answerable": ["NOTIF_1"]}, {"answerable": None}, {"pending": []}):
        assert "buttons" not in await drafted(**{"pending": pending("¿Sí?", "¿No?"), **state})


@pytest.mark.parametrize("asked_which", [False, True])
def test_a_tap_names_the_one_that_is_meant(asked_which: bool) -> None:
    tap = Incoming(kind="button", text="NOTIF_2", quoted=None, button="NOTIF_2")
    found = which_notification([tap], pending("¿Sí?", "¿No?", "¿Quizá?"), asked_which)
    assert found == ({"notification_id": "NOTIF_2", "because": "named"}, ["NOTIF_2"])

"""Which messages the API has already, when nobody knows how far telling it had come."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.sync.documents import PREVIOUS_MESSAGES
from recado.sync.linking import already_told


def said(*texts: str) -> list[dict[str, Any]]:
    """`u:` texts are the person's, others the shop's."""
    return [{"role": "user" if t.startswith("u:") else "bot", "content": t, "timestamp": None} for t in texts]


@pytest.mark.parametrize(
    ("remote", "known", "new", "expected"),
    [
        (["u:1"], ["u:1"], ["2"], 0),
        (["u:1", "2"], ["u:1"], ["2"], 1),
        (["u:1", "2", "u:3"], ["u:1"], ["2", "u:3", "4"], 2),
        ([], [], ["u:1"], 0),
        ([], ["u:1"], ["2"], 0),
        # The same words again: only as many of them as are there.
        (["u:ok"], ["u:ok"], ["u:ok"], 0),
        (["u:ok", "u:ok"], ["u:ok"], ["u:ok"], 1),
        # Somebody else's between ours, and a server that has forgotten what came first.
        (["u:1", "theirs", "2"], ["u:1"], ["2"], 1),
        (["2"], ["u:1"], ["2"], 1),
        # The server that does not store what is posted has the last state's messages.
        (["u:1", "2"], ["u:1", "2"], ["u:3", "4"], 0),
    ],
)
def test_as_many_as_make_the_ends_agree(remote: list[str], known: list[str], new: list[str], expected: int) -> None:
    assert already_told(said(*remote), said(*known), said(*new)) == expected


@given(st.lists(st.uuids(), max_size=30), st.lists(st.uuids(), max_size=30), st.data())
def test_it_is_exact_where_no_two_messages_are_alike(before: list[Any], new: list[Any], data: st.DataObject) -> None:
    known, waiting = said(*map(str, before))[-PREVIOUS_MESSAGES:], said(*map(str, new))
    told = data.draw(st.integers(0, len(waiting)))
    remote = [*known, *waiting[:told]][-PREVIOUS_MESSAGES:]
    assert already_told(remote, known, waiting) == told


@given(st.lists(st.sampled_from("ab"), max_size=25), st.lists(st.sampled_from("ab"), max_size=25), st.data())
def test_it_never_takes_for_told_more_than_were(before: list[str], new: list[str], data: st.DataObject) -> None:
    """However alike they are, as long as the list does not overflow."""
    known, waiting = said(*before)[-5:], said(*new)[:10]
    told = data.draw(st.integers(0, len(waiting)))
    assert already_told([*known, *waiting[:told]], known, waiting) <= told

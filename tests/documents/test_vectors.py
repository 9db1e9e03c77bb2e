"""Vectors: stored in a quarter of a kilobyte each, and the nearest found among many."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.documents.vectors import CANDIDATES, Vectors, pack
from recado.errors import ModelError

DIMENSIONS = 256


def near(center: list[float], chance: random.Random, distance: float) -> list[float]:
    return [value + chance.gauss(0, distance) for value in center]


def direction(chance: random.Random) -> list[float]:
    return [chance.gauss(0, 1) for _ in range(DIMENSIONS)]


def exactly_nearest(rows: dict[int, list[float]], vector: list[float], limit: int) -> list[int]:
    def cosine(document_id: int) -> float:
        other = rows[document_id]
        product = sum(one * two for one, two in zip(vector, other, strict=True))
        return product / math.sqrt(sum(value * value for value in other))

    return sorted(rows, key=cosine, reverse=True)[:limit]


def test_among_few_the_order_is_exact() -> None:
    chance = random.Random(1)
    rows = {number: direction(chance) for number in range(CANDIDATES)}
    vectors = Vectors((number, pack(vector)) for number, vector in rows.items())
    for _ in range(10):
        asked = direction(chance)
        assert vectors.nearest(asked, 12) == exactly_nearest(rows, asked, 12)


def test_among_many_the_nearest_are_found() -> None:
    """Thirty documents of one subject among 3,000 of others, as vectors of texts lie: near, not the same."""
    chance = random.Random(2)
    subject = direction(chance)
    rows = {number: direction(chance) for number in range(2_970)}
    rows |= {number: near(subject, chance, 1.0) for number in range(2_970, 3_000)}
    vectors = Vectors((number, pack(vector)) for number, vector in rows.items())
    for _ in range(20):
        asked = near(subject, chance, 1.0)
        assert vectors.nearest(asked, 12) == exactly_nearest(rows, asked, 12)


def test_vectors_of_another_length_are_left_out() -> None:
    vectors = Vectors([(1, pack([1.0, 0.0])), (2, pack([1.0, 0.0, 0.0]))])
    assert vectors.nearest([1.0, 0.1], 5) == [1]
    assert vectors.nearest([1.0] * 4, 5) == []


def test_of_none_none_is_nearest() -> None:
    assert Vectors([]).nearest([1.0, 2.0], 5) == []
    assert not Vectors([])


@given(st.lists(st.floats(-100, 100, width=32).filter(lambda value: abs(value) > 0.01), min_size=1, max_size=20))
def test_every_vector_is_nearest_to_itself(vector: list[float]) -> None:
    opposite = [-value for value in vector]
    assert Vectors([(1, pack(vector)), (2, pack(opposite))]).nearest(vector, 1) == [1]


@pytest.mark.parametrize("broken", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], []])
def test_a_vector_without_a_direction_is_refused(broken: list[float]) -> None:
    with pytest.raises(ModelError):
        pack(broken)

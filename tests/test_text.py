"""Texts from outside: what may be stored, cut and shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.db.engine import Database
from recado.db.models import SimulatorMessage
from recado.text import MAX_MESSAGE_CHARACTERS, clean_text, fold, mask_phone, shorten, split_text
from tests.builders import NOON

ANYTHING = st.text(alphabet=st.characters(), max_size=300) | st.text(
    alphabet=st.sampled_from("ab .!?\n\r\t\x00\u0301\ud800\u200d\u202e👩‍🏳️é "), max_size=300
)
FAMILY = "👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽"
ARABIC = "مرحبا \u200fكيف الحال\u200e؟ \u2067تمام\u2069"


@given(ANYTHING)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once


@given(ANYTHING)
def test_what_is_clean_can_be_encoded_and_shown(text: str) -> None:
    clean = clean_text(text)
    clean.encode("utf-8")
    assert not [c for c in clean if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t"]
    assert unicodedata.is_normalized("NFC", clean)


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs")), max_size=300))
def test_cleaning_takes_nothing_from_what_is_well(text: str) -> None:
    assert clean_text(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", [FAMILY, ARABIC, "a\nb\tc", "ñandú", "日本語", ""])
def test_emoji_and_right_to_left_stay(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x00b\x07c\x7fd\x9be", "abcde"),
        ("a\ud83db", "ab"),
        ("e\u0301", "é"),
        ("x" * (MAX_MESSAGE_CHARACTERS + 5), "x" * MAX_MESSAGE_CHARACTERS),
    ],
)
def test_what_is_cleaned(text: str, clean: str) -> None:
    assert clean_text(text) == clean


async def test_what_is_clean_can_be_stored_and_comes_back(database: Database) -> None:
    texts = [FAMILY, ARABIC, "a\x00b\ud800c\r\n\x1b", "\udcff", "\ufffe\uffff", "\U0010ffff", "'; DROP TABLE x; --"]
    for position, text in enumerate(map(clean_text, texts), 1):
        row = {"id": "x", "address": "a", "phone": "p", "direction": "in", "client_reference": str(position)}
        values = {"kind": "text", "text": text, "template": {"t": text}, "buttons": [], "status": "sent", "at": NOON}
        async with database.transaction() as session:
            session.add(SimulatorMessage(position=position, **row, **values))
        async with database.read() as session:
            stored = await session.get_one(SimulatorMessage, position)
        assert (stored.text, stored.template) == (text, {"t": text})


LIMITS = st.integers(min_value=1, max_value=60)


@given(ANYTHING, LIMITS)
def test_parts_keep_within_the_limit_and_are_never_blank(text: str, limit: int) -> None:
    parts = split_text(text, limit)
    assert all(0 < len(part) <= limit and part == part.strip() for part in parts)
    assert bool(parts) == bool(text.strip())


@given(ANYTHING, LIMITS)
def test_parts_hold_everything_in_order(text: str, limit: int) -> None:
    assert "".join("".join(split_text(text, limit)).split()) == "".join(text.split())


@given(st.lists(st.text(alphabet="abcñé.!?", min_size=1, max_size=12), max_size=80), st.sampled_from([" ", "\n", "  "]))
def test_no_word_is_cut_that_fits(words: list[str], space: str) -> None:
    assert [word for part in split_text(space.join(words), 20) for word in part.split()] == words


def test_a_cut_prefers_the_end_of_a_sentence() -> None:
    text = "Primera frase entera. Segunda frase que sigue. Tercera frase que es la que ya no cabe aquí"
    assert split_text(text, 60) == [
        "Primera frase entera. Segunda frase que sigue.",
        "Tercera frase que es la que ya no cabe aquí",
    ]
    assert split_text("una linea\notra linea que es larga", 20)[0] == "una linea"
    assert split_text("السؤال الأول؟ السؤال الثاني؟", 20) == ["السؤال الأول؟", "السؤال الثاني؟"]


def test_exactly_at_the_limit_is_one_part() -> None:
    assert split_text("x" * 20, 20) == ["x" * 20]
    assert split_text("x" * 21, 20) == ["x" * 20, "x"]


def test_a_huge_text_is_split_in_no_time() -> None:
    assert len(split_text("palabra " * 100_000, 1_600)) > 400


@given(ANYTHING, st.integers(min_value=1, max_value=50))
def test_shortening(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text if len(text) <= limit else short.endswith("…")


def test_folding_forgets_case_and_accents() -> None:
    assert fold("¿Cuál es el ENVÍO, señor Straße?") == "¿cual es el envio, senor strasse?"


@pytest.mark.parametrize(
    ("phone", "shown"), [("+51900000001", "+51…01"), ("+51900", "…"), ("PE.abcdef", "PE.…ef"), (None, "-"), ("", "-")]
)
def test_masked_phones(phone: str | None, shown: str) -> None:
    assert mask_phone(phone) == shown

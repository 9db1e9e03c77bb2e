"""Templates: whatever a person wrote, the provider's rules hold."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.campaigns.templates import (
    ANSWER_READY,
    ANSWER_VARIABLE,
    QUESTION_ANSWER,
    QUESTION_REQUEST,
    RENDERED_LIMIT,
    TEXTS,
    fill,
    fits,
    language_of,
    length,
    one_line,
)
from recado.channels.base import Template
from recado.errors import InvalidInput
from recado.text import UNSEEN, is_blank

VARIABLE = re.compile(r"\{\{(\w+)\}\}")
EVERY = [(name, language) for name, texts in TEXTS.items() for language in texts]
NAMES = {name for texts in TEXTS.values() for text in texts.values() for name in VARIABLE.findall(text)}


@pytest.mark.parametrize(("name", "language"), EVERY)
def test_a_text_neither_begins_nor_ends_with_a_variable_and_none_stand_side_by_side(name: str, language: str) -> None:
    text = TEXTS[name][language]
    words = re.sub(r"[^\w{}]+", " ", text).split()
    assert not VARIABLE.fullmatch(words[0])
    assert not VARIABLE.fullmatch(words[-1])
    assert not re.search(r"\}\}\s*\{\{", text)


@pytest.mark.parametrize(("name", "language"), EVERY)
def test_a_text_has_enough_words_for_its_variables(name: str, language: str) -> None:
    text = TEXTS[name][language]
    variables = set(VARIABLE.findall(text))
    static = re.findall(r"\w+", VARIABLE.sub(" ", text))
    assert len(static) >= 2 * len(variables) + 1


@pytest.mark.parametrize("name", TEXTS)
def test_all_languages_have_the_same_variables_in_the_same_order(name: str) -> None:
    orders = {tuple(VARIABLE.findall(text)) for text in TEXTS[name].values()}
    assert len(orders) == 1
    assert set(TEXTS[name]) == {"es", "en", "pt", "fr"}


UNKIND = st.text(
    st.sampled_from(
        "a é\n\t\r\v\x00\x1f\x85\u00a0\u2003\u2028\u2029\u200b\u200d\u2060\ufeff\u3164\u2800\uffff\u202e😀🇵👩\ufe0f"
    ),
    max_size=60,
)
VALUES = st.one_of(st.text(max_size=3_000), UNKIND, UNKIND.map(lambda text: text * 60))


def check_rules(template: Template) -> None:
    """What Twilio and Meta refuse: https://www.twilio.com/docs/errors/63013 and 63021."""
    for text in (template.text, *template.variables.values()):
        assert len(text.encode("utf-16-le")) // 2 <= RENDERED_LIMIT
        assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in text)
        assert not re.search(r"\s\s", text)
        assert not re.search(r"\s{2}", UNSEEN.sub("", text)), "a gap that is one for who leaves out joiners"
    for value in template.variables.values():
        assert value == value.strip()
        assert not is_blank(value)
        assert any(unicodedata.category(c)[0] in "LNPSC" and unicodedata.category(c) != "Cf" for c in value)


@settings(max_examples=400)
@given(place=st.sampled_from(EVERY), values=st.fixed_dictionaries(dict.fromkeys(sorted(NAMES), VALUES)))
def test_no_value_breaks_the_providers_rules(place: tuple[str, str], values: dict[str, str]) -> None:
    check_rules(fill(*place, values))


@settings(max_examples=400)
@given(place=st.sampled_from(sorted(ANSWER_VARIABLE)), name=VALUES, answer=VALUES)
def test_an_answer_that_fits_is_whole_and_one_that_does_not_is_said_not_to(place: str, name: str, answer: str) -> None:
    variable = ANSWER_VARIABLE[place]
    values = {"lead_name": name, variable: answer}
    filled = fill(place, "es", values)
    whole = filled.variables[variable] == one_line(answer)
    assert fits(place, "es", values, variable) is whole
    assert whole or filled.variables[variable].endswith("…")
    if not whole:
        assert length(filled.text.replace(filled.variables[variable], one_line(answer))) > RENDERED_LIMIT


@pytest.mark.parametrize(
    "invisible", ["", " ", "\n\t", "\u200b", "\u200d\ufe0f", "\u3164", "\u2800", "\u00ad", "\x00", "\ufdd0", "\u0301"]
)
def test_a_value_in_which_nothing_can_be_seen_is_a_dash(invisible: str) -> None:
    assert is_blank(invisible) or not one_line(invisible).strip("-")
    assert one_line(invisible) == "-"


def test_what_a_person_sees_stays_as_it_was() -> None:
    for text in ("👩‍👩‍👧", "שלום\u200f!", "می‌خواهم", "❤️", "n°1 «sí»", "🫨"):
        assert one_line(text) == text


def test_a_cut_is_not_within_an_emoji() -> None:
    variables = fill(QUESTION_REQUEST, "en", dict.fromkeys(NAMES, "1") | {"question": "👩‍👩‍👧" * 500}).variables
    assert re.fullmatch("(👩‍👩‍👧)+(👩(‍👩)?)?…", variables["question"])


def test_a_question_gets_what_the_others_leave() -> None:
    values = {"notification_id": "NOTIF_1", "lead_phone": "+51911111111", "question": "¿" * 2_000}
    template = fill(QUESTION_REQUEST, "es", values)
    assert template.variables["lead_phone"] == "+51911111111"
    assert length(template.text) == RENDERED_LIMIT


def test_a_long_name_leaves_room_for_the_answer() -> None:
    values = {"lead_name": "Ana " * 400, "answer": "sí " * 200}
    assert fits(QUESTION_ANSWER, "es", values, "answer")
    assert length(fill(QUESTION_ANSWER, "es", values).variables["lead_name"]) <= 60


def test_own_texts_count_with_their_own_length_and_with_each_use_of_a_variable() -> None:
    values = {"lead_name": "Ana", "answer": "x" * 480}
    twice = {QUESTION_ANSWER: {"es": "Hola {{lead_name}}: {{answer}}. De nuevo: {{answer}}. Adiós."}}
    assert fits(QUESTION_ANSWER, "es", values, "answer", twice)
    assert not fits(QUESTION_ANSWER, "es", values | {"answer": "x" * 500}, "answer", twice)
    check_rules(fill(QUESTION_ANSWER, "es", values | {"answer": "x" * 5_000}, twice))
    with pytest.raises(InvalidInput, match="no room"):
        fill(QUESTION_ANSWER, "es", values, {QUESTION_ANSWER: {"es": "x" * 1_023 + "{{answer}} {{lead_name}}"}})


def test_only_what_announces_an_answer_says_that_it_announces() -> None:
    announcing = {name for name, language in EVERY if fill(name, language, dict.fromkeys(NAMES, "x")).announces}
    assert announcing == {ANSWER_READY}
    assert fill(ANSWER_READY, "fr", {"lead_name": "Ana"}).buttons == (
        {"id": "show_answer", "title": "Voir la réponse"},
    )


def test_a_variable_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidInput, match="answer"):
        fill("merchant_user_question_answer", "es", {"lead_name": "Ana"})


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no template"):
        fill("spam", "es", {})


def test_a_language_without_a_text_falls_back_to_english() -> None:
    assert language_of("merchant_user_question_answer", "de") == "en"
    assert language_of("merchant_user_question_answer", None) == "en"
    assert language_of("merchant_user_question_answer", "fr") == "fr"


def test_braces_in_a_value_are_not_filled_in_again() -> None:
    template = fill("merchant_user_question_answer", "en", {"lead_name": "{{answer}}", "answer": "secret"})
    assert "{{answer}}" in template.text

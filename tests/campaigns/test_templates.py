"""Templates: whatever a person wrote, the provider's rules hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.campaigns.templates import RENDERED_LIMIT, TEXTS, fill, language_of
from recado.errors import InvalidInput

VARIABLE = re.compile(r"\{\{(\w+)\}\}")
EVERY = [(name, language) for name, texts in TEXTS.items() for language in texts]


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


@given(
    place=st.sampled_from(EVERY),
    values=st.dictionaries(
        st.sampled_from(["notification_id", "lead_phone", "lead_name", "question", "answer"]),
        st.text(max_size=3_000),
        min_size=5,
    ),
)
def test_no_value_breaks_the_providers_rules(place: tuple[str, str], values: dict[str, str]) -> None:
    template = fill(*place, values)
    assert len(template.text) <= RENDERED_LIMIT
    for value in template.variables.values():
        assert value.strip()
        assert not re.search(r"[\n\r\t]|\s{2,}", value)


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

"""What a word is searched by: singular and plural meet, in four languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.documents.words import MAX_WORDS, search_forms
from recado.text import searchable, words


def meets(asked: str, written: str) -> bool:
    """Whether a search for one finds the other, as the databases match them."""
    [forms] = search_forms(asked)
    [word] = words(written)
    return any(word.startswith(form[:-1]) if form.endswith("*") else word == form for form in forms)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        # Spanish
        ("envío", "envíos"),
        ("flor", "flores"),
        ("camión", "camiones"),
        ("devolución", "devoluciones"),
        ("luz", "luces"),
        ("lápiz", "lápices"),
        ("pan", "panes"),
        ("mes", "meses"),
        ("papel", "papeles"),
        ("tarjeta", "tarjetas"),
        ("cheque", "cheques"),
        # English
        ("card", "cards"),
        ("box", "boxes"),
        ("shoe", "shoes"),
        ("delivery", "deliveries"),
        ("price", "prices"),
        ("day", "days"),
        ("gift", "gifts"),
        ("address", "addresses"),
        # Portuguese
        ("cartão", "cartões"),
        ("promoção", "promoções"),
        ("limão", "limões"),
        ("hotel", "hotéis"),
        ("animal", "animais"),
        ("imagem", "imagens"),
        ("mão", "mãos"),
        ("preço", "preços"),
        # French
        ("livraison", "livraisons"),
        ("journal", "journaux"),
        ("cadeau", "cadeaux"),
        ("jeu", "jeux"),
        ("prix", "prix"),
        ("délai", "délais"),
    ],
)
def test_singular_and_plural_meet(one: str, many: str) -> None:
    assert meets(one, many)
    assert meets(many, one)
    assert meets(one.upper(), one)


@pytest.mark.parametrize(
    ("asked", "written"),
    [("pan", "pantalón"), ("24", "240"), ("shoes", "shop"), ("sol", "solicitud"), ("luz", "lucro")],
)
def test_short_words_and_numbers_do_not_begin_others(asked: str, written: str) -> None:
    assert not meets(asked, written)


def test_words_that_every_text_has_are_not_searched() -> None:
    assert search_forms("¿Qué es lo que tienen para el día? What do you have? Est-ce que vous avez?") == search_forms(
        "día"
    )


def test_each_word_once_and_not_too_many() -> None:
    assert len(search_forms("gato GATO gató")) == 1
    assert len(search_forms(" ".join(f"palabra{number}" for number in range(100)))) == MAX_WORDS


@given(st.text(max_size=200))
def test_forms_hold_letters_and_digits_only(text: str) -> None:
    for forms in search_forms(text):
        assert forms
        for form in forms:
            assert form.removesuffix("*").isalnum()


@given(st.text(max_size=200))
def test_searchable_text_has_one_space_between_words_and_stays_as_it_is(text: str) -> None:
    once = searchable(text)
    assert once.split(" ") == [word for word in once.split(" ") if word.isalnum()] or once == ""
    assert searchable(once) == once

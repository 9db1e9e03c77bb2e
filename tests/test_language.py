"""Telling languages apart, and when a text is clear enough to change the one that is kept."""

import pytest

from recado.language import clear_language, detect_language

PLAIN = [
    ("¿Tienen talla 44?", "es"),
    ("Quiero devolver mi pedido", "es"),
    ("Do you have this in size 44?", "en"),
    ("I need help with my order", "en"),
    ("Vocês têm o tamanho 44? Não achei", "pt"),
    ("Bom dia, quero trocar um produto", "pt"),
    ("Est-ce que vous avez la taille 44 ?", "fr"),
    ("Bonjour, je voudrais changer ma commande", "fr"),
]


@pytest.mark.parametrize(("text", "language"), PLAIN)
def test_a_plain_sentence_is_clear(text: str, language: str) -> None:
    assert detect_language(text) == clear_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        *("", "👍", "ok", "OK!!!", "¡ok!", "jaja", "12", "no", "gracias", "Thanks", "merci", "hola", "a a a a"),
        *("NOTIF_12", "Ana", "José Peña", "João", "João do Carmo", "São Paulo", "Ana de los Ríos", "María de la Cruz"),
    ],
)
def test_a_word_or_a_name_changes_no_kept_language(text: str) -> None:
    assert clear_language(text) is None


def test_a_text_that_tells_nothing_has_no_language() -> None:
    assert detect_language("👍") is None


def test_a_mixture_is_not_clear() -> None:
    assert clear_language("I want my pedido, ¿cuando es that, el lunes? please") is None

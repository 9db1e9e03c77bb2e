"""What a question is searched by: its words, in the forms that singular and plural have in four languages."""

from recado.language import STOP_WORDS
from recado.text import words

MIN_CHARACTERS = 2
MAX_CHARACTERS = 40
MAX_WORDS = 24
SHORT = 3
"""A stem of no more letters begins too many other words to stand for all of them."""

_IGNORED = frozenset().union(*STOP_WORDS.values())

_ENDINGS: tuple[tuple[str, int, str], ...] = (
    # ending, letters that must be left, what takes its place; the first that fits counts
    ("ies", 4, ""),  # deliveries, delivery
    ("y", 4, ""),
    ("aux", 3, "a"),  # journaux, journal
    ("eux", 1, "eu"),
    ("oux", 1, "ou"),
    ("ais", 3, "a"),  # animais, animal
    ("eis", 3, "e"),
    ("ois", 3, "o"),
    ("al", 3, "a"),
    ("el", 3, "e"),
    ("ol", 3, "o"),
    ("ns", 3, ""),  # imagens, imagem
    ("m", 4, ""),
    ("es", 4, ""),  # flores, flor
    ("s", 3, ""),
)


def search_forms(text: str) -> list[tuple[str, ...]]:
    """For each word of `text` worth looking for the forms that it may have, at most 24 words.

    A form that ends in `*` stands for all that begins so. Letters and digits are all that a form holds besides.
    """
    found = dict.fromkeys(
        word for word in words(text) if MIN_CHARACTERS <= len(word) <= MAX_CHARACTERS and word not in _IGNORED
    )
    return [_forms(word) for word in list(found)[:MAX_WORDS]]


def _forms(word: str) -> tuple[str, ...]:
    if any(character.isdigit() for character in word):
        return (word,)  # 24 is not 240
    for ending in ("oes", "aes", "ao"):  # cartões, cartão
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return tuple(f"{word.removesuffix(ending)}{other}*" for other in ("ao", "oe", "ae"))
    forms = _begins(_stem(word))
    if word.endswith("es") and len(word) == len("es") + SHORT:
        forms += (word[:-2],)  # meses: mes, whereas shoes: shoe
    if word.endswith("z") and len(word) >= SHORT:
        forms += _begins(f"{word[:-1]}c")  # luz, luces
    if word.endswith("ces") and len(word) > SHORT:
        forms += (f"{word[:-3]}z",)
    return tuple(dict.fromkeys(forms))


def _stem(word: str) -> str:
    for ending, left, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= left:
            return word[: len(word) - len(ending)] + instead
    return word


def _begins(stem: str) -> tuple[str, ...]:
    return (f"{stem}*",) if len(stem) > SHORT else tuple(stem + ending for ending in ("", "s", "es", "x"))

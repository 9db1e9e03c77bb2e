"""Which language a text is in, told from its commonest words: Spanish, English, Portuguese or French."""

import re
from collections.abc import Mapping

from recado.text import fold

_WORD = re.compile(r"\w+")
_STOP_WORDS = {
    "es": "el la los las de que y en un una es por para con su al lo del se me hay hacen tienen esta este cual son "
    "donde cuando como puedo quiero hola ustedes mi muy tiene tienes pueden necesito quisiera buenos buenas pero",
    "en": "the a an of and in is to for with it do you have are this that what where when how can i my does your on be "
    "need want would could please there not we",
    "pt": "o a os as de que e em um uma para com nao por se ao do da voces tem esta este qual onde quando como posso "
    "quero ola meu minha sao fazem voce hoje preciso queria bom boa dia mas",
    "fr": "le la les de que et en un une est pour avec ce vous avez du des dans au je mon ma quel quelle ou quand "
    "comment puis bonjour faites sont nous voudrais besoin oui mais",
}
STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _STOP_WORDS.items()
}
"""The words that a language is known by, without case and accents."""

CLEAR = 2
"""How many of a language's words a text must have, and how many more than of any other, to change a kept language."""


def detect_language(text: str) -> str | None:
    """es, en, pt or fr, the likeliest; None where the text does not tell."""
    words = _WORD.findall(fold(text))
    scores = {language: sum(word in known for word in words) for language, known in STOP_WORDS.items()}
    if any(mark in text for mark in "¿¡ñ"):
        scores["es"] += 2
    if any(mark in text for mark in "ãõ"):
        scores["pt"] += 2
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > 0 else None


def clear_language(text: str) -> str | None:
    """The language of a text that leaves no doubt; None for a word or two, a name, a mixture.

    Letters count for nothing here, because names have them too; the marks that open a Spanish sentence do.
    """
    words = set(_WORD.findall(fold(text)))
    scores = {language: len(words & known) for language, known in STOP_WORDS.items()}
    if scores["es"] and any(mark in text for mark in "¿¡"):
        scores["es"] += CLEAR
    best, second = sorted(scores, key=lambda language: scores[language], reverse=True)[:2]
    return best if scores[best] >= CLEAR and scores[best] - scores[second] >= CLEAR else None

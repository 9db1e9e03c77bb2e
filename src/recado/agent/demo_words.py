"""What the demo model knows of words: enough to tell a complaint from a question, and whose business it is."""

import re
from collections.abc import Mapping, Sequence

from recado.language import STOP_WORDS
from recado.text import fold

WORD = re.compile(r"\w+")

_IGNORED = frozenset().union(*STOP_WORDS.values())

_HELP = re.compile(
    r"rot[oa]s?|rompi\w*|danad[oa]s?|defectuos\w*|devolver\w*|devuelv\w*|reembols\w*|reclam\w*|quejas?|estafa\w*"
    r"|broken|broke|damaged?|faulty|defective|refund\w*|complain\w*|ripped"
    r"|quebrad\w*|danificad\w*|defeituos\w*|estragad\w*"
    r"|casse[es]*|endommage\w*|defectueu\w*|rembours\w*|abime\w*|plainte"
)
"""Words of somebody who needs help with something of their own."""

_FAMILIES: Mapping[str, re.Pattern[str]] = {
    "return": re.compile(
        r"return\w*|refund\w*|exchang\w*|devol\w*|devuelv\w*|reembols\w*|cambi\w*|troc\w*|retour\w*|rembours\w*|echang\w*"
        r"|rot[oa]s?|danad\w*|defect\w*|defeit\w*|broken|damaged?|faulty|quebrad\w*|casse[es]*|endommag\w*"
    ),
    "delivery": re.compile(r"envi\w*|entreg\w*|deliver\w*|shipp\w*|ship|livr\w*|expedi\w*|demor\w*|retras\w*|late"),
    "payment": re.compile(r"pag[oaue]\w*|cobr\w*|factur\w*|fatur\w*|pay\w*|paid|invoic\w*|charg\w*|bill\w*|paie\w*"),
}
"""Words of several languages that are about the same."""


_NOTES = re.compile(r"^(?:\[[^\[\]]*\]\s*)+")
"""What the product puts before a text of a person's. A bracket of their own has a backslash before it."""
_UNABLE = (
    (re.compile(r"\[(?:voice note|audio) (?:that|without)"), "audio"),
    (re.compile(r"\[(?:image|sticker|a picture)"), "picture"),
    (re.compile(r"\[(?:document|video)"), "media"),
)


def said_in(text: str) -> str:
    """What a person said themselves, without the notes before it."""
    return _NOTES.sub("", text).replace("\\[", "[").strip()


def unable_to(text: str) -> str | None:
    """The phrase for what the demo cannot do with a message; None where it has words that stand for themselves."""
    notes = _NOTES.match(text)
    for pattern, phrase in _UNABLE if notes else ():
        if pattern.search(text, 0, notes.end()):  # type: ignore[union-attr]
            return phrase
    return "unknown" if notes and not said_in(text) else None


def content_words(text: str) -> set[str]:
    """The words that carry the meaning. A plural and its singular count as one."""
    return {word.rstrip("s") for word in WORD.findall(fold(text)) if len(word) > 2 and word not in _IGNORED}


def needs_help(text: str) -> bool:
    """Whether somebody wants the team to take care of something of their own."""
    return any(_HELP.fullmatch(word) for word in WORD.findall(fold(text)))


def user_type_for(reason: str, types: Sequence[tuple[str, str]]) -> str | None:
    """Of (user type, description), the one that shares the most words with a reason; None where none does."""
    about = _meanings(reason)
    scores = {name: len(about & _meanings(f"{name} {description}")) for name, description in types}
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] > 0 else None


def ask_the_same(one: str, other: str) -> bool:
    """Whether two questions have nearly all their words in common, and every number."""
    mine, theirs = content_words(one), content_words(other)
    shared = len(mine & theirs) / max(len(mine), len(theirs), 1)
    return shared >= 0.8 and set(re.findall(r"\d+", one)) == set(re.findall(r"\d+", other))


def _meanings(text: str) -> set[str]:
    families = {
        family for word in WORD.findall(fold(text)) for family, words in _FAMILIES.items() if words.fullmatch(word)
    }
    return content_words(text) | families

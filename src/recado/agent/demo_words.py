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

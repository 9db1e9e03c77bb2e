"""The templates that Recado sends outside the 24-hour window.

Each provider approves them under these names; a variable is `{{name}}`, and the order in which a text first names its
variables is that of the provider's numbered ones. No text begins or ends with a variable and no two stand side by side:
WhatsApp refuses such templates.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from recado.channels.base import Template
from recado.errors import InvalidInput
from recado.text import UNSEEN, is_blank

OwnTexts = Mapping[str, Mapping[str, str]]
"""A merchant's own words for templates: {template name: {language: text}}."""

QUESTION_REQUEST = "merchant_user_question_request"
QUESTION_ANSWER = "merchant_user_question_answer"
SUPPORT_REQUEST = "merchant_user_override_request"
SUPPORT_RESPONSE = "customer_support_response"
ANSWER_READY = "customer_answer_ready"
NOTIFICATION_CLOSED = "merchant_user_notification_closed"

RENDERED_LIMIT = 1_024
"""The longest body that WhatsApp takes once the variables are filled in."""

DEFAULT_LANGUAGE = "en"

TEXTS: Mapping[str, Mapping[str, str]] = {
    QUESTION_REQUEST: {
        "es": "Consulta {{notification_id}} de un cliente ({{lead_phone}}): «{{question}}». "
        "Responde citando este mensaje y le llevaremos tu respuesta.",
        "en": "Question {{notification_id}} from a customer ({{lead_phone}}): “{{question}}”. "
        "Reply by quoting this message and we will take your answer to them.",
        "pt": "Pergunta {{notification_id}} de um cliente ({{lead_phone}}): “{{question}}”. "
        "Responda citando esta mensagem e levaremos a sua resposta.",
        "fr": "Question {{notification_id}} d’un client ({{lead_phone}}) : « {{question}} ». "
        "Répondez en citant ce message et nous lui porterons votre réponse.",
    },
    QUESTION_ANSWER: {
        "es": "Gracias por esperar, {{lead_name}}. El equipo dice: «{{answer}}». Si necesitas algo más, escríbenos.",
        "en": "Thank you for waiting, {{lead_name}}. The team says “{{answer}}”. Write to us if you need more.",
        "pt": "Obrigado por esperar, {{lead_name}}. A equipe diz: “{{answer}}”. Se precisar de mais, escreva para nós.",
        "fr": "Merci d’avoir patienté, {{lead_name}}. L’équipe répond : « {{answer}} ». "
        "Écrivez-nous si vous avez besoin d’autre chose.",
    },
    SUPPORT_REQUEST: {
        "es": "Solicitud {{notification_id}} de un cliente ({{lead_phone}}), tipo: {{support_request_type}}. "
        "Dice: «{{support_request_reason}}». Responde citando este mensaje y le llevaremos tu respuesta.",
        "en": "Request {{notification_id}} from a customer ({{lead_phone}}), type: {{support_request_type}}. "
        "They say “{{support_request_reason}}”. Reply by quoting this message and we will take your answer to them.",
        "pt": "Solicitação {{notification_id}} de um cliente ({{lead_phone}}), tipo: {{support_request_type}}. "
        "Diz: “{{support_request_reason}}”. Responda citando esta mensagem e levaremos a sua resposta.",
        "fr": "Demande {{notification_id}} d’un client ({{lead_phone}}), type : {{support_request_type}}. "
        "Il écrit : « {{support_request_reason}} ». Répondez en citant ce message et nous lui porterons votre réponse.",
    },
    SUPPORT_RESPONSE: {
        "es": "Hola, {{lead_name}}. Nuestro equipo revisó tu solicitud y {{customer_response_text}}. "
        "Si necesitas algo más, escríbenos.",
        "en": "Hello {{lead_name}}. Our team has reviewed your request and {{customer_response_text}}. "
        "Write to us if you need more.",
        "pt": "Olá, {{lead_name}}. A nossa equipe analisou a sua solicitação e {{customer_response_text}}. "
        "Se precisar de mais, escreva para nós.",
        "fr": "Bonjour {{lead_name}}. Notre équipe a examiné votre demande et {{customer_response_text}}. "
        "Écrivez-nous si vous avez besoin d’autre chose.",
    },
    ANSWER_READY: {
        "es": "Hola, {{lead_name}}. La respuesta del equipo está lista. Toca el botón para leerla completa.",
        "en": "Hello {{lead_name}}. The team’s answer is ready. Tap the button to read all of it.",
        "pt": "Olá, {{lead_name}}. A resposta da equipe está pronta. Toque no botão para ler tudo.",
        "fr": "Bonjour {{lead_name}}. La réponse de l’équipe est prête. Touchez le bouton pour la lire en entier.",
    },
    NOTIFICATION_CLOSED: {
        "es": "La consulta {{notification_id}} ya fue respondida y está cerrada. No hace falta que respondas.",
        "en": "Notification {{notification_id}} has been answered and is now closed. There is nothing left to do.",
        "pt": "A pergunta {{notification_id}} já foi respondida e está encerrada. Não é preciso responder.",
        "fr": "La question {{notification_id}} a reçu sa réponse et est close. Vous n’avez rien à faire.",
    },
}

BUTTONS: Mapping[str, Mapping[str, tuple[dict[str, str], ...]]] = {
    ANSWER_READY: {
        "es": ({"id": "show_answer", "title": "Ver respuesta"},),
        "en": ({"id": "show_answer", "title": "Show answer"},),
        "pt": ({"id": "show_answer", "title": "Ver resposta"},),
        "fr": ({"id": "show_answer", "title": "Voir la réponse"},),
    },
}
"""Quick replies that are approved with a template. Their ids are what a tap brings back."""

ANSWER_BUTTON: Mapping[str, tuple[dict[str, str], ...]] = {
    "es": ({"id": "answer", "title": "Responder"},),
    "en": ({"id": "answer", "title": "Answer"},),
    "pt": ({"id": "answer", "title": "Responder"},),
    "fr": ({"id": "answer", "title": "Répondre"},),
}
"""Under a request that goes to the staff as free text."""

CUSTOMER = {"es": "cliente", "en": "customer", "pt": "cliente", "fr": "client"}
"""What a person is called whose name we do not know."""

ANSWER_VARIABLE = {QUESTION_ANSWER: "answer", SUPPORT_RESPONSE: "customer_response_text"}
"""The variable of an answer's template that holds the answer itself."""

NOTHING = "-"
"""Stands for a value in which nothing can be seen: a provider takes no empty one."""

LONGEST_NAME = 60
"""How much of a person's name a template shows, so that it leaves room for what they are told."""

_VARIABLE = re.compile(r"\{\{(\w+)\}\}")
_FILLERS = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")
_SPACES = re.compile(rf"\s(?:{UNSEEN.pattern}*\s)*")
"""White space, also with joiners and the like in between: on a screen that is one gap."""
_JOINED = re.compile("[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")


def language_of(name: str, language: str | None) -> str:
    """The language in which this template will go: the wanted one, or English where there is no such text."""
    return language if language and language in TEXTS[name] else DEFAULT_LANGUAGE


def length(text: str) -> int:
    """How long a text is by the strictest count: an emoji is two, as in UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def one_line(value: str) -> str:
    """A value as providers take it: one line, single spaces, no control characters, something to be seen."""
    kept = "".join(c for c in _FILLERS.sub(" ", value) if c.isspace() or _is_character(c))
    line = _SPACES.sub(" ", f" {kept} ").strip()
    return NOTHING if is_blank(line) else line


def fill(name: str, language: str | None, values: Mapping[str, str], own_texts: OwnTexts | None = None) -> Template:
    """A template with its values, made safe: on one line, without runs of spaces, never empty, never too long.

    What does not fit is cut with an ellipsis, the longest value first: `fits` says whether that is so. `own_texts` are
    the merchant's own words, as in `Merchant.template_texts`. Raises InvalidInput for a template that does not exist,
    a value that is missing, or own words that leave no room.
    """
    chosen, text = _text(name, language, own_texts)
    uses = Counter(_VARIABLE.findall(text))
    missing = [wanted for wanted in uses if wanted not in values]
    if missing:
        raise InvalidInput(f"template {name!r} needs {', '.join(missing)}")
    room = RENDERED_LIMIT - length(_VARIABLE.sub("", text))
    if room < sum(uses.values()):
        raise InvalidInput(f"the text of template {name!r} leaves no room for its variables")
    safe = {wanted: one_line(values[wanted]) for wanted in uses}
    if "lead_name" in safe:
        safe["lead_name"] = _cut(safe["lead_name"], LONGEST_NAME)
    left = sum(uses.values())
    for wanted in sorted(safe, key=lambda found: length(safe[found])):
        # From the shortest to the longest, each may take an equal share of what the shorter ones have left.
        safe[wanted] = _cut(safe[wanted], room // left)
        room -= length(safe[wanted]) * uses[wanted]
        left -= uses[wanted]
    variables = {wanted: safe[wanted] for wanted in uses}
    return Template(
        name,
        chosen,
        variables,
        _VARIABLE.sub(lambda match: variables[match[1]], text),
        buttons=BUTTONS.get(name, {}).get(chosen, ()),
        announces=name == ANSWER_READY,
    )


def fits(
    name: str,
    language: str | None,
    values: Mapping[str, str],
    variable: str,
    own_texts: OwnTexts | None = None,
) -> bool:
    """Whether this variable's value goes into the template whole. Raises InvalidInput as `fill` does."""
    return fill(name, language, values, own_texts).variables[variable] == one_line(values[variable])


def _text(name: str, language: str | None, own_texts: OwnTexts | None) -> tuple[str, str]:
    if name not in TEXTS:
        raise InvalidInput(f"no template {name!r}")
    chosen = language_of(name, language)
    return chosen, ((own_texts or {}).get(name) or {}).get(chosen) or TEXTS[name][chosen]


def _is_character(c: str) -> bool:
    return unicodedata.category(c) not in {"Cc", "Cs"} and ord(c) & 0xFFFE != 0xFFFE and not 0xFDD0 <= ord(c) <= 0xFDEF


def _cut(value: str, limit: int) -> str:
    """`value`, cut to `limit` by `length`, with an ellipsis and not within an emoji or an accented letter."""
    if length(value) <= limit:
        return value
    kept = value.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    while kept and (kept[-1] in " \u200d" or _belongs_to_the_one_before(value[len(kept)])):
        kept = kept[:-1]
    return kept + "…"


def _belongs_to_the_one_before(c: str) -> bool:
    return bool(_JOINED.match(c)) or unicodedata.combining(c) != 0


def check_text(name: str, language: str, text: str) -> None:
    """A merchant's own words for a template must be such that providers approve them and our values fit.

    Raises ValueError, with the reason. The rules are WhatsApp's: no variable first or last, none side by side, and at
    least `2 n + 1` words of text for `n` variables.
    """
    if name not in TEXTS:
        raise ValueError(f"there is no template {name!r}; there are {', '.join(sorted(TEXTS))}")
    if language not in TEXTS[name]:
        raise ValueError(f"templates are in {', '.join(TEXTS[name])}, not {language!r}")
    wanted = set(_VARIABLE.findall(TEXTS[name][language]))
    found = _VARIABLE.findall(text)
    if set(found) != wanted:
        raise ValueError(f"{name} has the variables {', '.join(sorted(wanted))}, and this text {found or 'none'}")
    pieces = [piece.strip(" .,;:!?¡¿\n") for piece in _VARIABLE.split(text)[::2]]
    if not all(pieces):
        raise ValueError("a variable may be neither first nor last, nor stand beside another")
    if sum(len(piece.split()) for piece in pieces) < 2 * len(found) + 1:
        raise ValueError(f"{len(found)} variables need at least {2 * len(found) + 1} words around them")
    if len("".join(pieces)) > RENDERED_LIMIT // 2:
        raise ValueError(f"the text leaves too little of WhatsApp's {RENDERED_LIMIT} characters for the values")

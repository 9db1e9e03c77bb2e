"""Recado's templates as a provider is asked to approve them, with examples of what will stand in them."""

import re
from collections.abc import Collection, Mapping

from recado.campaigns.templates import ANSWER_BUTTON, BUTTONS, TEXTS, OwnTexts
from recado.channels.management import NewTemplate

ANSWER_CONTENT = "answer_button"
"""Free text with an *Answer* button, where a provider wants buttons made beforehand."""

EXAMPLES: Mapping[str, Mapping[str, str]] = {
    "notification_id": dict.fromkeys(("es", "en", "pt", "fr"), "NOTIF_57"),
    "lead_phone": dict.fromkeys(("es", "en", "pt", "fr"), "+51 900 000 001"),
    "lead_name": {"es": "Ana", "en": "Anna", "pt": "Ana", "fr": "Anne"},
    "question": {
        "es": "¿Hacen envíos a Arequipa?",
        "en": "Do you deliver to Arequipa?",
        "pt": "Vocês entregam em Arequipa?",
        "fr": "Livrez-vous à Arequipa ?",
    },
    "answer": {
        "es": "Sí, llega en tres días y cuesta 15 soles.",
        "en": "Yes, it takes three days and costs 15 soles.",
        "pt": "Sim, chega em três dias e custa 15 soles.",
        "fr": "Oui, en trois jours et pour 15 soles.",
    },
    "support_request_type": {"es": "devoluciones", "en": "returns", "pt": "devoluções", "fr": "retours"},
    "support_request_reason": {
        "es": "La camisa llegó en otra talla.",
        "en": "The shirt came in another size.",
        "pt": "A camisa veio em outro tamanho.",
        "fr": "La chemise est arrivée dans une autre taille.",
    },
    "customer_response_text": {
        "es": "aprobó el cambio de la camisa",
        "en": "has approved the exchange of the shirt",
        "pt": "aprovou a troca da camisa",
        "fr": "a approuvé l’échange de la chemise",
    },
}
"""What a reviewer sees in a variable, by language. Nobody's data."""

_VARIABLE = re.compile(r"\{\{(\w+)\}\}")


def wanted_templates(
    own_texts: OwnTexts | None, languages: Collection[str] | None = None, *, contents: bool = False
) -> list[NewTemplate]:
    """Every template in these languages (None: all that it has), in the merchant's own words where there are such.

    `contents`: with the content that carries a button within the window.
    """
    found = []
    for name, texts in TEXTS.items():
        for language, text in texts.items():
            if languages is None or language in languages:
                words = ((own_texts or {}).get(name) or {}).get(language) or text
                buttons = BUTTONS.get(name, {}).get(language, ())
                found.append(NewTemplate(name, language, words, _examples(words, language), buttons))
    if contents:
        found += [
            NewTemplate(ANSWER_CONTENT, language, "{{text}}", {"text": "…"}, buttons, for_window=True)
            for language, buttons in ANSWER_BUTTON.items()
            if languages is None or language in languages
        ]
    return found


def _examples(text: str, language: str) -> dict[str, str]:
    """A value for each variable, in the order of their first use: a provider's numbers follow it."""
    return {name: EXAMPLES[name][language] for name in dict.fromkeys(_VARIABLE.findall(text))}

"""The many words that graphs use for what the conversation API has one word for."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from recado.intents import INTENTS, Intent
from recado.text import fold

_NOT_A_LETTER = re.compile(r"[\W_]+")


def _by_word(meanings: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {word: meaning for meaning, words in meanings.items() for word in (meaning, *words)}


_INTENTS: Mapping[str, str] = _by_word(
    {
        "menu": ("browse", "browsing", "catalog", "catalogue", "carta", "products", "recommendation", "view_menu"),
        "order": ("cart", "ordering", "checkout", "order_status", "pedido", "purchase", "buy", "selecting"),
        "support": ("complaint", "help", "human", "handoff", "problem", "refund", "return", "returns", "soporte"),
        "info": ("faq", "question", "information", "informacion", "inquiry", "hours", "location", "contact"),
        "payment": ("pay", "paying", "pago", "billing", "processing_payment", "payment_method", "payment_pending"),
        "delivery": ("shipping", "shipment", "address", "delivery_address", "tracking", "envio", "entrega", "dispatch"),
        "idle": ("greeting", "hello", "hi", "saludo", "goodbye", "farewell", "thanks", "smalltalk"),
    }
)
_STAGES: Mapping[str, str] = {
    **_INTENTS,
    **_by_word({"order": ("selected", "customizing", "review", "confirming", "confirmed", "completed", "placed")}),
}
_PAYMENTS: Mapping[str, str] = _by_word(
    {
        "cash": ("efectivo", "contra_entrega", "cash_on_delivery", "dinheiro"),
        "card": ("tarjeta", "credit_card", "debit_card", "tarjeta_de_credito", "tarjeta_de_debito", "cartao", "visa"),
        "transfer": ("transferencia", "wire"),
        "yape": (),
        "plin": (),
        "mercado_pago": ("mercadopago",),
        "bank_transfer": ("transferencia_bancaria", "deposito"),
    }
)
_ROLES: Mapping[str, str] = _by_word({"user": ("human", "customer"), "bot": ("assistant", "ai", "response", "admin")})


def to_intent(text: Any) -> Intent | None:
    """The API's intent that `text` means, whatever its case and accents. None: it means none of them."""
    return _known(_INTENTS.get(_word(text)))


def intent_of_stage(text: Any) -> Intent | None:
    """The intent of somebody whose order, or workflow, stands at `text`."""
    word = _word(text)
    found = _STAGES.get(word)
    if found is None:
        # order_confirmation, payment_pending: the first word that says something
        found = next((_STAGES[part] for part in word.split("_") if part in _STAGES), None)
    return _known(found)


def to_payment_method(text: Any) -> str | None:
    """The API's payment method that `text` means, or `text` itself where it knows none. None: it is no text."""
    if not isinstance(text, str) or not text.strip():
        return None
    return _PAYMENTS.get(_word(text), text.strip())


def to_role(text: Any) -> str | None:
    """`user` or `bot`. None: neither has said it, a tool for instance."""
    return _ROLES.get(_word(text))


def _word(text: Any) -> str:
    return _NOT_A_LETTER.sub("_", fold(text)).strip("_") if isinstance(text, str) else ""


def _known(word: str | None) -> Intent | None:
    return next((intent for intent in INTENTS if intent == word), None)

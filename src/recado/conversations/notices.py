"""What a person is told without the agent: that they have opted out, that a code was right, that we were late."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OPTED_OUT, OPTED_IN, MARKETING_STOPPED = "opted_out", "opted_in", "marketing_stopped"
LINKED, NOT_LINKED = "linked", "not_linked"
LATE = "late"

DEFAULT_LANGUAGE = "en"

TEXTS: Mapping[str, Mapping[str, str]] = {
    OPTED_OUT: {
        "es": "Listo: no te escribiremos más. Si quieres volver a recibir mensajes, escribe INICIAR.",
        "en": "Done: we will not write to you any more. To receive messages again, write START.",
        "pt": "Pronto: não escreveremos mais para você. Para voltar a receber mensagens, escreva INICIAR.",
        "fr": "C’est fait : nous ne vous écrirons plus. Pour recevoir à nouveau nos messages, écrivez COMMENCER.",
    },
    OPTED_IN: {
        "es": "Listo: volverás a recibir nuestros mensajes. ¿En qué podemos ayudarte?",
        "en": "Done: you will receive our messages again. How can we help you?",
        "pt": "Pronto: você voltará a receber nossas mensagens. Como podemos ajudar?",
        "fr": "C’est fait : vous recevrez à nouveau nos messages. Comment pouvons-nous vous aider ?",
    },
    MARKETING_STOPPED: {
        "es": "Listo: no te enviaremos promociones. Seguiremos respondiendo a lo que nos preguntes.",
        "en": "Done: we will send you no promotions. We will still answer whatever you ask us.",
        "pt": "Pronto: não enviaremos promoções. Continuaremos respondendo ao que você perguntar.",
        "fr": "C’est fait : plus de promotions. Nous répondrons toujours à vos questions.",
    },
    LINKED: {
        "es": "Hola, {name}: esta cuenta ya es tuya aquí. Las consultas de los clientes llegarán también a este chat.",
        "en": "Hello {name}: this account is linked to you. You will get customers’ questions in this chat too.",
        "pt": "Olá, {name}: esta conta já está ligada a você. As perguntas dos clientes chegarão também a este chat.",
        "fr": "Bonjour {name} : ce compte est maintenant lié à vous. Les questions des clients arriveront aussi ici.",
    },
    NOT_LINKED: {
        "es": "Ese código no sirve. Cada código vale una sola vez y por 15 minutos: pide uno nuevo a quien administra.",
        "en": "That code does not work. A code works once, for 15 minutes: ask whoever runs the account for a new one.",
        "pt": "Esse código não serve. Cada código vale uma só vez e por 15 minutos: peça um novo a quem administra.",
        "fr": "Ce code ne fonctionne pas. Un code sert une fois, pendant 15 minutes : demandez-en un autre au gérant.",
    },
    LATE: {
        "es": "Perdona: tu mensaje nos llegó con mucho retraso. Si todavía lo necesitas, escríbenos de nuevo.",
        "en": "We are sorry: your message reached us very late. If you still need it, please write to us again.",
        "pt": "Desculpe: sua mensagem chegou com muito atraso. Se ainda precisar, escreva para nós de novo.",
        "fr": "Désolés : votre message nous est parvenu très tard. Si vous en avez encore besoin, écrivez-nous.",
    },
}


@dataclass(frozen=True, slots=True)
class Decision:
    """Why the agent shall not answer a message (`handled`, as in its `other_data`), and what is said instead."""

    handled: str
    notice: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    other_data: Mapping[str, Any] = field(default_factory=dict)


def text_of(notice: str, language: str | None, values: Mapping[str, str]) -> str:
    """A notice in a person's language, English where there is none of it."""
    texts = TEXTS[notice]
    return texts.get(language or "", texts[DEFAULT_LANGUAGE]).format_map(dict(values))

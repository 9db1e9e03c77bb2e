"""The demo model: small, deterministic, and with no key. It shows the product, it does not understand language.

It reads the same prompts as a real model (the JSON under their headings) and answers in the same form: text,
tool calls, structured output.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool
from pydantic import BaseModel

from recado.text import fold, shorten

_WORD = re.compile(r"\w+")
_NOTIFICATION = re.compile(r"\bNOTIF[_\s-]?(\d{1,9})\b", re.IGNORECASE)
_STOP_WORDS = {
    "es": "el la los las de que y en un una es por para con su al lo del se me hay hacen tienen esta este cual son "
    "donde cuando como puedo quiero hola ustedes mi muy",
    "en": "the a an of and in is to for with it do you have are this that what where when how can i my does your on be",
    "pt": "o a os as de que e em um uma para com nao por se ao do da voces tem esta este qual onde quando como posso "
    "quero ola meu minha sao fazem",
    "fr": "le la les de que et en un une est pour avec ce vous avez du des dans au je mon ma quel quelle ou quand "
    "comment puis bonjour faites sont",
}
_WORDS_OF = {language: frozenset(words.split()) for language, words in _STOP_WORDS.items()}
_GREETINGS = frozenset(
    [
        "hola",
        "hello",
        "hi",
        "hey",
        "buenas",
        "buenos",
        "bonjour",
        "salut",
        "ola",
        "oi",
        "bom",
        "dia",
        "tardes",
        "noches",
    ]
)
_THANKS = frozenset(
    [
        "gracias",
        "thanks",
        "thank",
        "obrigado",
        "obrigada",
        "merci",
        "perfecto",
        "ok",
        "vale",
        "genial",
        "super",
        "great",
        "listo",
    ]
)

PHRASES = {
    "es": {
        "greet": "¡Hola! Soy el asistente de la tienda. ¿En qué te ayudo?",
        "thanks": "¡Con gusto! Aquí estoy si necesitas algo más.",
        "media": "Todavía no puedo ver imágenes, audios ni archivos. ¿Me lo cuentas con palabras?",
        "ask": "¡Buena pregunta! Se la paso al equipo y te aviso en cuanto respondan.",
        "answer": "El equipo me confirma: {answer}",
        "done": "Gracias, ya se lo llevo al cliente.",
        "which": "¿A cuál consulta respondes? {items}",
        "none": "No hay consultas pendientes. Te escribo cuando un cliente necesite algo.",
        "open": "Pendientes: {items}",
        "closed": "Esa consulta ya fue respondida y está cerrada.",
        "wait": "De acuerdo, la consulta sigue abierta hasta que me des la respuesta.",
    },
    "en": {
        "greet": "Hello! I am the shop's assistant. How can I help?",
        "thanks": "You are welcome! I am here if you need anything else.",
        "media": "I cannot see images, audio or files yet. Could you tell me in words?",
        "ask": "Good question! I am asking the team and will tell you as soon as they answer.",
        "answer": "The team tells me: {answer}",
        "done": "Thank you, I am taking it to the customer.",
        "which": "Which question is this about? {items}",
        "none": "Nothing is open. I will write when a customer needs something.",
        "open": "Open: {items}",
        "closed": "That question has been answered and is closed.",
        "wait": "Alright, the question stays open until you give me the answer.",
    },
    "pt": {
        "greet": "Olá! Sou o assistente da loja. Como posso ajudar?",
        "thanks": "De nada! Estou aqui se precisar de algo mais.",
        "media": "Ainda não consigo ver imagens, áudios nem arquivos. Pode me contar em palavras?",
        "ask": "Boa pergunta! Vou perguntar à equipe e aviso assim que responderem.",
        "answer": "A equipe me confirma: {answer}",
        "done": "Obrigado, já levo ao cliente.",
        "which": "Qual pergunta você está respondendo? {items}",
        "none": "Não há perguntas pendentes. Escrevo quando um cliente precisar de algo.",
        "open": "Pendentes: {items}",
        "closed": "Essa pergunta já foi respondida e está encerrada.",
        "wait": "Certo, a pergunta fica aberta até você me dar a resposta.",
    },
    "fr": {
        "greet": "Bonjour ! Je suis l’assistant de la boutique. Comment puis-je aider ?",
        "thanks": "Avec plaisir ! Je suis là si besoin.",
        "media": "Je ne vois pas encore les images, les audios ni les fichiers. Pouvez-vous me le dire avec des mots ?",
        "ask": "Bonne question ! Je demande à l’équipe et je vous dis dès qu’elle répond.",
        "answer": "L’équipe me confirme : {answer}",
        "done": "Merci, je le transmets au client.",
        "which": "À quelle question répondez-vous ? {items}",
        "none": "Rien en attente. J’écris dès qu’un client a besoin de quelque chose.",
        "open": "En attente : {items}",
        "closed": "Cette question a déjà reçu sa réponse et est close.",
        "wait": "D’accord, la question reste ouverte jusqu’à votre réponse.",
    },
}


class DemoChatModel(BaseChatModel):
    """Answers for one task by simple rules."""

    task: str

    @property
    def _llm_type(self) -> str:
        return "recado-demo"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The demo knows the product's tools, so there is nothing to bind."""
        return self

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Structured output: the JSON that the task's rule writes, read into `schema`."""

        def read(message: AIMessage) -> dict[str, Any] | BaseModel:
            data = json.loads(message.text)
            return schema.model_validate(data) if isinstance(schema, type) and issubclass(schema, BaseModel) else data

        return self | RunnableLambda(read)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        rule = {"customer": _customer, "staff": _staff, "reply": _reply, "localise": _localise}.get(
            self.task, _summarise
        )
        return ChatResult(generations=[ChatGeneration(message=rule(_Chat(messages)))])


class _Chat:
    """What a rule needs of the messages."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self.prompt = str(messages[0].text)
        self.people = [str(message.text) for message in messages if message.type == "human"]
        self.last = self.people[-1] if self.people else ""
        self.tool_problem = next((str(m.text) for m in messages[-1:] if m.type == "tool"), "")
        stated = re.search(r"`([a-z]{2})`", self.prompt)
        self.language = detect_language(self.last) or (stated[1] if stated else "es")

    def section(self, heading: str) -> Any:
        found = re.search(rf"^## {heading}\n(.+)$", self.prompt, re.MULTILINE)
        return json.loads(found[1]) if found else None

    def phrase(self, name: str, **values: str) -> AIMessage:
        phrases = PHRASES.get(self.language, PHRASES["en"])
        return AIMessage(phrases[name].format(**values))


def detect_language(text: str) -> str | None:
    """es, en, pt or fr by their commonest words; None where the text does not tell."""
    words = _WORD.findall(fold(text))
    scores = {language: sum(word in known for word in words) for language, known in _WORDS_OF.items()}
    if any(mark in text for mark in "¿¡ñ"):
        scores["es"] += 2
    if any(mark in text for mark in "ãõ"):
        scores["pt"] += 2
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > 0 else None


def _content_words(text: str) -> set[str]:
    ignored = frozenset().union(*_WORDS_OF.values())
    # A plural and its singular count as one word.
    return {word.rstrip("s") for word in _WORD.findall(fold(text)) if len(word) > 2 and word not in ignored}


def _best_document(question: str, documents: list[dict[str, str]]) -> dict[str, str] | None:
    asked = _content_words(question)
    best, best_share = None, 0.0
    for document in documents:
        known = _content_words(document["title"])
        share = len(asked & known) / max(len(asked), len(known), 1)
        if share > best_share:
            best, best_share = document, share
    return best if best_share >= 0.5 else None


def _call(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"demo-{name}", "type": "tool_call"}])


def _customer(chat: _Chat) -> AIMessage:
    words = {word for word in _WORD.findall(fold(chat.last))}
    if (not words and chat.last) or chat.last.startswith("["):
        return chat.phrase("media" if chat.last.startswith("[") else "greet")
    document = _best_document(chat.last, chat.section("Documents") or [])
    if document is not None:
        return AIMessage(document["content"])
    if words <= _THANKS | {"muchas", "muito", "beaucoup", "very", "much", "you"}:
        return chat.phrase("thanks")
    if words & _GREETINGS and "?" not in chat.last and len(words) < 5:
        return chat.phrase("greet")
    message = str(chat.phrase("ask").text)
    question = shorten(chat.last.strip(), 2_000)
    return _call("request_notification", question=question, language=chat.language, message_to_customer=message)


def _staff(chat: _Chat) -> AIMessage:
    pending = chat.section("Open notifications") or []
    target = (chat.section("Which one this message is about") or {}).get("notification_id")
    if "answered already" in chat.tool_problem:
        return chat.phrase("closed")
    if target is None and not pending:
        return chat.phrase("none")
    items = " · ".join(f"{found['notification_id']}: {found['question']}" for found in pending)
    said = re.sub(r"^\[[^\]]*\]\s*", "", chat.last)
    answer = _NOTIFICATION.sub("", said).lstrip(" :,.-\n").rstrip()
    if _WORD.findall(fold(said)) in (["pendientes"], ["pendente"], ["open"], ["list"], ["lista"]):
        return chat.phrase("open", items=items)
    if target is None or chat.tool_problem:
        return chat.phrase("which", items=items)
    if not answer and len(chat.people) > 1:  # only an id: the answer is what was said before we asked which
        answer = re.sub(r"^\[[^\]]*\]\s*", "", chat.people[-2])
    if not answer or set(_WORD.findall(fold(answer))) <= _THANKS | _GREETINGS:
        return chat.phrase("wait")
    confirmation = str(chat.phrase("done").text)
    return _call(
        "answer_notification",
        notification_id=target,
        answer_json=json.dumps({"answer": answer}, ensure_ascii=False),
        message_to_staff=confirmation,
    )


def _stated_language(chat: _Chat) -> str:
    found = re.search(r"`([a-z]{2})`", chat.prompt)
    return found[1] if found else "es"


def _reply(chat: _Chat) -> AIMessage:
    chat.language = _stated_language(chat)
    return chat.phrase("answer", answer=chat.section("The team's answer"))


def _localise(chat: _Chat) -> AIMessage:
    answer = str(chat.section("The team's answer")).strip()
    fragment = answer[:1].lower() + answer[1:].rstrip(".")
    return AIMessage(json.dumps({"continuation_fragment": fragment, "full_sentence": answer}, ensure_ascii=False))


def _summarise(chat: _Chat) -> AIMessage:
    said = chat.section("Messages since") or []
    return AIMessage(shorten(" / ".join(f"{line['role']}: {shorten(line['text'], 60)}" for line in said), 600))

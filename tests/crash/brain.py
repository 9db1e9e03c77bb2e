"""The model of the crash tests: it says which messages it answers, so that every one can be counted.

A person's message carries a token, such as `#ana-7`. Then, over all that Twilio was asked to send,

    <ana-7>     is in the one reply that answers it;
    (ana-7)     is in the question as the staff gets it;
    [[ana-7]]   is in the team's answer as the customer gets it.
"""

import random
import re
import threading
import zlib
from dataclasses import dataclass, field

from tests.fakes.openai_rules import system_text, text_of, tool_names
from tests.fakes.recorder import JsonObject

TOKEN = re.compile(r"#([a-z]+-\d+)")
LISTED = re.compile(r"\b[a-z]+-\d+\b")
PERSON = re.compile(r'"name": "([^"]*)"')
QUESTION = re.compile(r"\(([a-z]+-\d+)\)")
NOTIFICATION = re.compile(r"NOTIF_(\d+)")
ASKS, ANSWERS = "pregunta", "respuesta"

Step = tuple[str, str, int]
"""(task, token, place): one call of the model, known by what it is about.

The customer's and the staff's agent: the newest message of the draft, and how much model and tools had said in it
before. A later draft of the turn has another newest message. The other tasks: all that they are about, and 0.
"""


def step_of(request: JsonObject) -> Step:
    """Which step of which run a request to the model is for."""
    tools = tool_names(request)
    if not tools:
        return _single_step(system_text(request))
    messages = request["messages"]
    newest = max(place for place, message in enumerate(messages) if message["role"] == "user")
    (token,) = TOKEN.findall(text_of(messages[newest]))
    task = "customer" if "request_notification" in tools else "staff"
    return task, token, len(messages) - newest - 1


def _single_step(system: str) -> Step:
    if "Bring the summary" in system:
        person, _, said = system.partition("## Summary so far")
        return summary_step(PERSON.findall(person)[0], said)
    if "## Open questions" in system:
        (question,) = QUESTION.findall(system.split("## Question")[1].split("## Open questions")[0])
        return "same_question", question, 0
    (question,) = set(QUESTION.findall(system.split("## Question")[1].split("## The team's answer")[0]))
    return "reply", question, 0


def summary_step(person: str, text: str) -> Step:
    """The step that summarises these messages of a person: the staff's conversations may hold the same ones."""
    return "summarise", " ".join([person, *LISTED.findall(text)]), 0


def incoming(request: JsonObject) -> list[str]:
    """The texts that the request's turn answers: what people wrote after the last that was said to them."""
    messages = list(request["messages"])
    while messages[-1]["role"] != "user":
        messages.pop()
    found: list[str] = []
    while messages and messages[-1]["role"] == "user":
        found.insert(0, text_of(messages.pop()))
    return found


@dataclass
class Brain:
    """Answers requests. `interfere`: what else happens to the next request of a step, by (task, token, place)."""

    latency: tuple[float, float] = (0.0, 0.0)
    interfere: dict[Step, JsonObject] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.Random)
    lock: threading.Lock = field(default_factory=threading.Lock)
    calls: int = 0

    def __call__(self, request: JsonObject) -> JsonObject:
        step = step_of(request)
        with self.lock:
            self.calls += 1
            extra = self.interfere.pop(step, {"latency": self.chance.uniform(*self.latency)})
        answers = {
            "customer": customer,
            "staff": staff,
            "reply": take_back,
            "summarise": summarise,
            "same_question": compare,
        }
        return answers[step[0]](request, step) | extra


def customer(request: JsonObject, step: Step) -> JsonObject:
    """Echo; ask the staff what is a question; say nothing at first to every ninth."""
    texts = incoming(request)
    tokens = [token for text in texts for token in TOKEN.findall(text)]
    questions = [token for text in texts for token in TOKEN.findall(text) if ASKS in text]
    if step[2] == 0 and _chance(step[1], 9):
        return {"content": ""}
    if not questions:
        return {"content": f"Anotado: {_echo(tokens)}"}
    plain = [token for token in tokens if token not in questions]
    calls = []
    for token in questions:
        said, plain = _echo([token, *plain]), []
        question = {"question": f"¿Qué hay de ({token})?", "language": "es"}
        calls.append(_call("request_notification", **question, message_to_customer=f"Pregunto al equipo: {said}"))
    return {"tool_calls": calls}


def staff(request: JsonObject, step: Step) -> JsonObject:
    """Take the answer to the notification that is named; list the open ones first for every second message."""
    (text,) = incoming(request)
    named = NOTIFICATION.findall(text)
    last = text_of(request["messages"][-1])
    if not named or (step[2] and "answer_notification" in _called(request)):
        return {"content": f"Entendido {_echo([step[1]])}: {last if step[2] else ''}"[:300]}
    if step[2] == 0 and _chance(step[1], 2):
        return {"tool_calls": [_call("list_notifications")]}
    answer = f'{{"answer": "La respuesta de {step[1]}"}}'
    said = f"Lo llevo: <{step[1]}>"
    called = _call(
        "answer_notification", notification_id=f"NOTIF_{named[0]}", answer_json=answer, message_to_staff=said
    )
    return {"tool_calls": [called]}


def take_back(request: JsonObject, step: Step) -> JsonObject:
    """The team's answer, for the customer."""
    return {"content": f"El equipo respondió [[{step[1]}]]"}


def compare(request: JsonObject, step: Step) -> JsonObject:
    """No two questions are the same."""
    return {"content": {"notification_id": None}}


def summarise(request: JsonObject, step: Step) -> JsonObject:
    """A summary that names nothing, so that no token is in two places."""
    return {"content": "They talked."}


def _called(request: JsonObject) -> list[str]:
    newest = request["messages"][-2]
    return [call["function"]["name"] for call in newest.get("tool_calls") or []]


def _call(tool: str, **arguments: str) -> JsonObject:
    return {"name": tool, "arguments": arguments}


def _echo(tokens: list[str]) -> str:
    return " ".join(f"<{token}>" for token in tokens)


def _chance(token: str, one_in: int) -> bool:
    return zlib.crc32(token.encode()) % one_in == 0

"""The people and shops of these tests, and what they do over HTTP."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from tests.fakes.openai_api import OpenAIFake
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import inbound_form, sign, status_form
from tests.support import WEB, RecadoServer

T = TypeVar("T")
PATIENCE = 20.0
SHOPS = 12
LANGUAGES = ("es", "en", "pt")


def until(condition: Callable[[], T], what: str | Callable[[], object], timeout: float = PATIENCE) -> T:
    """The condition's first truthy value. Raises AssertionError, with `what` there is, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout:.0f} s: {what() if callable(what) else what}")


@dataclass(frozen=True, slots=True)
class Shop:
    """A merchant with a simulator number and a Twilio number. The odd ones have no closing template; the last one has a
    content with an *Answer* button."""

    number: int

    @property
    def simulator(self) -> str:
        return f"+155501{self.number:02}"

    @property
    def twilio(self) -> str:
        return f"+155502{self.number:02}"

    @property
    def account_sid(self) -> str:
        return f"AC{self.number + 1:032x}"

    @property
    def auth_token(self) -> str:
        return f"auth-token-of-shop-{self.number:02}"

    @property
    def rosa(self) -> str:
        return f"+5190{self.number:02}00001"

    @property
    def luis(self) -> str:
        return f"+5190{self.number:02}00002"

    def customer(self, number: int) -> str:
        return f"+5191{self.number:02}{number:05}"

    def content_sid(self, template: str, language: str) -> str:
        kinds = (
            "merchant_user_question_request",
            "merchant_user_question_answer",
            "merchant_user_notification_closed",
            "merchant_user_override_request",
            "customer_support_response",
            "customer_answer_ready",
            "answer_button",
        )
        return f"HX{self.number:02}{kinds.index(template):02}{LANGUAGES.index(language):028}"

    def spec(self) -> dict[str, Any]:
        """This shop as `recado apply` reads it."""
        names = [
            "merchant_user_question_request",
            "merchant_user_question_answer",
            "merchant_user_override_request",
            "customer_support_response",
            "customer_answer_ready",
        ]
        if self.number % 2 == 0:
            names.append("merchant_user_notification_closed")
        if self.number == SHOPS - 1:
            names.append("answer_button")
        templates = {name: {code: self.content_sid(name, code) for code in LANGUAGES} for name in names}
        credentials = {"account_sid": self.account_sid, "auth_token": self.auth_token}
        return {
            "name": f"Bodega {self.number}",
            "sub_domain": f"bodega-{self.number}",
            "language": "es",
            "timezone": "America/Lima",
            "channels": [
                {"kind": "simulator", "address": self.simulator},
                {"kind": "twilio", "address": self.twilio, "templates": templates, **credentials},
            ],
            "staff": [
                {"name": "Rosa", "phone": self.rosa, "types": ["admin"]},
                {"name": "Luis", "phone": self.luis, "types": ["returns", "support"]},
            ],
            "documents": [
                {
                    "category": "support_classification",
                    "title": "returns",
                    "content": "Processes returns, exchanges, refunds",
                },
                {"category": "support_classification", "title": "billing", "content": "Invoices and payments"},
                {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí, a todo Lima en 24 horas."},
                {"category": "faq", "title": "Do you accept credit cards?", "content": "Yes, Visa and Mastercard."},
            ],
        }


ALL_SHOPS = [Shop(number) for number in range(SHOPS)]


def write_merchants(path: Path) -> Path:
    """The YAML file of all shops."""
    path.write_text(yaml.safe_dump({"merchants": [shop.spec() for shop in ALL_SHOPS]}, allow_unicode=True))
    return path


def query(server: RecadoServer, sql: str, *values: object) -> list[sqlite3.Row]:
    """Rows of the server's database, read without any means to change it."""
    with closing(sqlite3.connect(f"file:{server.folder}/recado.db?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql, values).fetchall()


def alive(server: RecadoServer) -> bool:
    return WEB.get(f"{server.url}/readyz", timeout=10).status_code == 200


class Phone:
    """Somebody on the simulated network, writing to one shop."""

    def __init__(self, server: RecadoServer, number: str, shop: str, name: str | None = None) -> None:
        self.url, self.number, self.shop, self.name = server.url, number, shop, name

    def says(self, text: str, **more: str) -> str:
        """Send a message; its id."""
        body = {"from": self.number, "to": self.shop, "text": text, "name": self.name, **more}
        answer = WEB.post(f"{self.url}/simulator/messages", json=body, timeout=10)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def messages(self) -> list[dict[str, Any]]:
        answer = WEB.get(f"{self.url}/simulator/messages", params={"phone": self.number}, timeout=10)
        return list(answer.raise_for_status().json())

    def heard(self) -> list[dict[str, Any]]:
        return [message for message in self.messages() if message["direction"] == "out"]

    def hears(self, *fragments: str, count: int = 1, timeout: float = PATIENCE) -> dict[str, Any]:
        """The newest message once it holds all fragments and is the `count`-th one to arrive."""

        def newest() -> dict[str, Any] | None:
            heard = self.heard()
            fits = len(heard) >= count and all(fragment in heard[-1]["text"] for fragment in fragments)
            return heard[-1] if fits else None

        found = until(newest, lambda: f"{fragments} on {self.number}: {self.messages()}", timeout)
        assert found is not None
        return found


class World:
    """A running server with its providers."""

    def __init__(self, server: RecadoServer, twilio: TwilioFake, openai: OpenAIFake) -> None:
        self.server, self.twilio, self.openai = server, twilio, openai
        self.client = httpx.Client(timeout=20, trust_env=False)

    def post(
        self, form: Mapping[str, str], token: str, path: str = "/webhooks/twilio", signature: str | None = None
    ) -> httpx.Response:
        """A form post as Twilio makes it."""
        url = f"{self.server.url}{path}"
        headers = {"X-Twilio-Signature": sign(url, form, token) if signature is None else signature}
        return self.client.post(url, data=dict(form), headers=headers)

    def inbound(self, shop: Shop, number: str, body: str = "", **more: Any) -> str:
        """A person writes; the message's SID."""
        form = inbound_form(from_=number, to=shop.twilio, body=body, account_sid=shop.account_sid, **more)
        answer = self.post(form, shop.auth_token)
        assert answer.status_code == 200, answer.text
        return form["MessageSid"]

    def status(self, shop: Shop, send: dict[str, Any], sid: str, status: str, code: int | None = None) -> None:
        """Twilio reports on a message, at the address that the send named."""
        path = send["StatusCallback"].removeprefix(self.server.url)
        form = status_form(
            message_sid=sid,
            status=status,
            from_=shop.twilio,
            to=send["To"],
            account_sid=shop.account_sid,
            error_code=code,
        )
        assert self.post(form, shop.auth_token, path).status_code == 200

    def sends(self, number: str) -> list[dict[str, Any]]:
        """The recorded send requests to this person, accepted or not."""
        return [entry for entry in self.twilio.sends() if entry["body"].get("To") == f"whatsapp:{number}"]

    def forms(self, number: str) -> list[dict[str, Any]]:
        return [entry["body"] for entry in self.sends(number)]

    def gets(self, number: str, count: int = 1, timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """What was sent to this person, once there are `count` sends."""
        return until(
            lambda: forms if len(forms := self.forms(number)) >= count else [],
            lambda: f"{count} sends to {number}: {self.forms(number)}\n{self.log_tail()}",
            timeout,
        )

    def chats(self, fragment: str) -> list[dict[str, Any]]:
        """The recorded model requests whose messages hold `fragment`."""
        return [entry["body"] for entry in self.openai.chats() if fragment in str(entry["body"]["messages"])]

    def log_tail(self) -> str:
        return self.server.log.read_text(errors="replace")[-3_000:]

    def alerts(self, fragment: str) -> list[str]:
        """The log's alerts that hold `fragment`."""
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "alert" in line and "alert told" not in line and fragment in line]

    def deliveries(self, number: str) -> list[sqlite3.Row]:
        """A person's deliveries, oldest first."""
        return query(
            self.server,
            "SELECT d.*, m.text AS message_text, m.turn_id FROM deliveries d JOIN messages m ON m.id = d.message_id"
            " JOIN conversations c ON c.id = d.conversation_id JOIN contacts p ON p.id = c.contact_id"
            " WHERE p.channel_user_id = ? ORDER BY d.id",
            number,
        )

    def later(self, **duration: float) -> None:
        """Move the system's clock forward."""
        seconds = timedelta(**duration).total_seconds()
        answer = self.client.post(f"{self.server.url}/simulator/clock", json={"advance_seconds": seconds})
        assert answer.status_code == 200, answer.text

    def quiet(self) -> None:
        """Wait until nothing is under way: no event, message, turn or delivery waits."""
        sql = (
            "SELECT (SELECT count(*) FROM inbox_events WHERE state = 'received')"
            " + (SELECT count(*) FROM messages WHERE role = 'user' AND turn_id IS NULL)"
            " + (SELECT count(*) FROM turns WHERE state = 'running')"
            " + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending'))"
            " + (SELECT count(*) FROM notifications WHERE announced_at IS NULL"
            "     OR (status = 'answered' AND returned_at IS NULL)) AS waiting"
        )
        until(lambda: query(self.server, sql)[0]["waiting"] == 0, lambda: f"quiet\n{self.log_tail()}", 40)


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    """A reply of the model that calls one tool."""
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def says(message: str, intent: str, step: str) -> dict[str, Any]:
    """The customer's model answers, and names where they stand."""
    return {"message": message, "intent": intent, "step": step}


def ask(question: str, language: str = "es", message: str = "Le pregunto al equipo.") -> dict[str, Any]:
    """The customer's model asks the team."""
    return tool("request_notification", question=question, language=language, message_to_customer=message)


def answer(notification: str, text: str, message: str = "Se lo llevo.") -> dict[str, Any]:
    """The staff's model takes an answer."""
    written = f'{{"answer": "{text}"}}'
    return tool("answer_notification", notification_id=notification, answer_json=written, message_to_staff=message)


def when(fragment: str, reply: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A rule of the model for those whose last message holds `fragment`."""
    times = {"times": more.pop("times")} if "times" in more else {}
    return {"when": {"last_user": fragment, **more}, "reply": reply, **times}

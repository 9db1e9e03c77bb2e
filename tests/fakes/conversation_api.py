"""A local stand-in of the TypeScript conversation API, over SQLite, which behaves in one of two ways:

guide     as its integration guide documents it: the four agent endpoints and the five older ones below
          `/api/v1/conversations`, nothing is lost, and with `api_key` it demands `Authorization: Bearer`
observed  as a running server was seen to behave: conversations come into being through its own webhook alone
          (`inbound`), concurrent writes to one session lose each other, posted messages are mostly not stored,
          an unknown intent is a 500, nobody is asked for a key

In a test: `with ConversationApiFake("observed") as api: api.seed("+51999999999", "bodega-sol"); api.url`.
As a process: `python -m tests.fakes.conversation_api --port N --behaviour guide --database FILE`; it says READY with
its URL, and its prefix in the next line. `conversation_control` has its control routes, `conversation_faults` how it
fails on demand. Down is `stop()`; `start()` brings it back on its port, with all that it had.
"""

import argparse
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes import conversation_documents as rules
from tests.fakes.conversation_control import Control
from tests.fakes.conversation_documents import BOTS, LIFETIME, Behaviour, new_document, shown
from tests.fakes.conversation_faults import Fault, Faults
from tests.fakes.conversation_http import Intake, not_found
from tests.fakes.conversation_operations import Operations, endpoints
from tests.fakes.conversation_store import Store
from tests.fakes.recorder import JsonObject
from tests.fakes.server import Fake, argument_parser, running, serve_forever

PREFIXES: dict[Behaviour, str] = {"guide": "/api/v1/whatsapp", "observed": "/api/v1/whatsapp-providers"}


class ConversationApiFake(Fake):
    """`requests`: {kind (the operation), method, path, query, session, authorization, body, outcome, status} each.

    `authorization` is `none`, `right`, `wrong`, or `unchecked` where no key was given to compare with. `status` is None
    until it is answered, where it never is, and in the lines of `log`, which are written when a request comes in.
    `overlaps` counts requests that came in while another of the same session, whose caller still waited, was not
    answered.

    `port`: 0 for a free one. `keep_alive`, `write_delay`: seconds; `body_limit`: bytes; `now`: its clock.
    """

    def __init__(
        self,
        behaviour: Behaviour = "guide",
        *,
        prefix: str | None = None,
        api_key: str | None = None,
        database: Path | None = None,
        log: Path | None = None,
        port: int = 0,
        keep_alive: float = 5.0,
        write_delay: float = 0.005,
        body_limit: int = 100 * 1024,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(log)
        self.behaviour = behaviour
        self.prefix = "/" + (prefix or PREFIXES[behaviour]).strip("/")
        self.greeting = f"prefix {self.prefix}\n"
        self.port = port
        self.keep_alive = keep_alive
        self._write_delay = write_delay
        self._now = now
        self._store = Store(database)
        self._faults = Faults()
        self._intake = Intake(
            self.requests,
            self.gates,
            self._faults,
            body_limit=body_limit,
            api_key=api_key,
            demands_key=behaviour == "guide" and api_key is not None,
        )
        self._running: contextlib.ExitStack | None = None

    def start(self) -> Self:
        """Serves from a thread of this process, on the port that it had before, if any."""
        if self._running is None:
            stack = contextlib.ExitStack()
            stack.enter_context(running(self, port=self.port))
            self._running, self.port = stack, int(self.url.rpartition(":")[2])
        return self

    def stop(self) -> None:
        """Cuts what it was about to answer; from now on its port refuses connections."""
        if self._running is not None:
            self._intake.abort()
            self._running.close()
            self._running = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def overlaps(self) -> int:
        return self._intake.overlaps

    def seed(
        self,
        phone: str,
        sub_domain: str,
        *,
        bot_id: str | None = None,
        local_id: str | None = None,
        session_id: str | None = None,
        intent: str = "idle",
        step: str | None = None,
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
        active: bool = True,
        expires_in: timedelta = LIFETIME,
    ) -> str:
        """Puts a conversation there; its session id. A negative `expires_in`: it has expired."""
        document = new_document(
            phone,
            sub_domain,
            self._now(),
            bot_id=bot_id or BOTS[self.behaviour],
            local_id=local_id,
            session_id=session_id,
            expires_in=expires_in,
        )
        document |= {"currentIntent": intent, "isActive": active}
        document |= {"context": context or {}, "metadata": metadata or {}}
        if step is not None:
            document["currentStep"] = step
        self._store.add(document)
        return str(document["sessionId"])

    def inbound(self, phone: str, sub_domain: str, *, bot_id: str | None = None, local_id: str | None = None) -> str:
        """The server's own webhook sees a message: it prolongs the conversation, or begins one; its session id."""
        wanted, now = bot_id or BOTS[self.behaviour], self._now()
        for document in self._store.of_phone(phone):
            same = (document["subDomain"], document["botId"]) == (sub_domain, wanted)
            if same and document["isActive"] and not rules.expired(document, now):
                rules.touch(document, now)
                document["expiresAt"] = rules.stamp(now + LIFETIME)
                self._store.replace(document)
                return str(document["sessionId"])
        return self.seed(phone, sub_domain, bot_id=bot_id, local_id=local_id)

    def document(self, session_id: str) -> JsonObject | None:
        """As a GET answers it; None: there is none (any more)."""
        document = self._store.get(session_id)
        return None if document is None else shown(document, self.behaviour)

    def documents(self) -> list[JsonObject]:
        """All, also the expired; what was written last comes last."""
        return [shown(document, self.behaviour) for document in self._store.all()]

    def delete(self, session_id: str) -> None:
        """As the database does some time after the expiry."""
        self._store.delete(session_id)

    def expire(self, session_id: str) -> None:
        """From now on it has expired."""
        document = self._store.get(session_id)
        if document is not None:
            self._store.replace(document | {"expiresAt": rules.stamp(self._now())})

    def posted(self, session_id: str) -> list[tuple[str, str]]:
        """(role, content) of every message that was processed, in order, whether it was stored or not."""
        return [(body["role"], body["content"]) for body in self._store.processed(session_id, "message")]

    def synced(self, session_id: str) -> list[JsonObject]:
        """The body of every sync that was processed, in order."""
        return self._store.processed(session_id, "sync")

    def orders(self, session_id: str) -> list[JsonObject]:
        return self._store.processed(session_id, "order")

    def fail(self, **fault: Any) -> None:
        """From now on; the arguments are those of `conversation_faults.Fault`. Earlier ones still come first."""
        self._faults.add(Fault(**fault))

    def clear_faults(self) -> None:
        """No more of them, and what hangs is processed and answered now."""
        self._faults.clear()
        self.gates.release()

    def apply_script(self, script: Any) -> None:
        """`{"faults": [...]}`."""
        for fault in script["faults"]:
            self.fail(**fault)

    def reset(self) -> None:
        """Forgets documents, requests and faults, and drops what hangs."""
        super().reset()
        self._faults.clear()
        self._store.clear()
        self._intake.overlaps = 0

    def routes(self) -> list[Route]:
        # made anew whenever it is started: its locks belong to one event loop
        operations = Operations(self._store, self.behaviour, self._now, self._write_delay)
        served = [
            Route(path, partial(self._intake.serve, operations, operation), methods=[method])
            for operation, method, path in endpoints(self.behaviour, self.prefix)
        ]
        return [*Control(self).routes(), *served]

    def not_found(self, request: Request) -> Response:
        return not_found(request)

    def record(self, request: Request, kind: str, body: Any, outcome: str) -> JsonObject:
        return self._intake.record(request, kind, body, outcome)


def _from_arguments(args: argparse.Namespace) -> ConversationApiFake:
    return ConversationApiFake(
        args.behaviour, prefix=args.prefix, api_key=args.api_key, database=args.database, log=args.log
    )


if __name__ == "__main__":
    parser = argument_parser("A local stand-in of the TypeScript conversation API")
    parser.add_argument("--behaviour", choices=sorted(PREFIXES), default="guide")
    parser.add_argument("--prefix", default=None, help="before its routes; default: the behaviour's own")
    parser.add_argument("--api-key", default=None, help="demanded as a bearer token (behaviour guide)")
    parser.add_argument("--database", type=Path, default=None, help="SQLite file; default: in memory")
    serve_forever(_from_arguments, parser)

"""Status callbacks of the Twilio fake: which, in what order, how often, how late.

A plan is `{"when": {...}, "sequence": [...]}`; every item of the sequence is a status or {status,
error_code}. It is posted as it stands, one after the other: `["delivered", "sent", "sent"]` is out of
order and doubled. `copies` (each n times), `reverse`, `concurrent` (all at once), `delay` (seconds before
each), `early` (all of them before the send is answered) and `hold` (a name, see /_release) vary it.
Without a plan: sent, delivered. The initial status is never called back, as at Twilio.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.fakes.recorder import Gates, JsonObject, Recorder
from tests.fakes.twilio_inbound import post_signed, status_form
from tests.fakes.twilio_wire import ERRORS, Message

_WHEN = {"op", "to", "from", "contains", "content_sid"}
# Twilio's defaults: 5 s to connect, 15 s in all, one more try if the connection fails, none after an answer
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_TRIES = 2


def matches(when: JsonObject, op: str, form: JsonObject) -> bool:
    """Whether a rule's `when` holds for a request of that kind. ValueError on an unknown word."""
    if set(when) - _WHEN:
        raise ValueError(f"unknown words in when: {sorted(set(when) - _WHEN)}")
    return (
        when.get("op", op) == op
        and when.get("to", form.get("To")) == form.get("To")
        and when.get("from", form.get("From")) == form.get("From")
        and when.get("content_sid", form.get("ContentSid")) == form.get("ContentSid")
        and str(when.get("contains", "")) in str(form.get("Body", ""))
    )


@dataclass(slots=True)
class StatusPlan:
    sequence: list[JsonObject]
    when: JsonObject = field(default_factory=dict)
    delay: float = 0.0
    early: bool = False
    concurrent: bool = False
    hold: str | None = None

    @classmethod
    def parse(cls, raw: JsonObject) -> "StatusPlan":
        steps = [{"status": step} if isinstance(step, str) else dict(step) for step in raw["sequence"]]
        if raw.get("reverse"):
            steps.reverse()
        steps = [step for step in steps for _ in range(raw.get("copies", 1))]
        rest: dict[str, Any] = {k: v for k, v in raw.items() if k not in ("sequence", "copies", "reverse")}
        return cls(steps, **rest)


DEFAULT_PLAN = StatusPlan.parse({"sequence": ["sent", "delivered"]})


class Callbacks:
    """Moves messages along their plan, and tells the StatusCallback address if the send named one."""

    def __init__(self, record: Recorder, token: Callable[[str], str], gates: Gates) -> None:
        self.plans: list[StatusPlan] = []
        self._gates = gates
        self._record = record
        self._token = token
        self._tasks: set[asyncio.Task[None]] = set()
        self._era = 0

    def reset(self) -> None:
        """Callbacks that are still to come belong to what was forgotten, and are not posted any more."""
        self.plans = []
        self._era += 1

    async def start(self, message: Message) -> None:
        plans = (plan for plan in self.plans if matches(plan.when, "send", message.form))
        plan = next(plans, DEFAULT_PLAN)
        if plan.early:
            await self._follow(plan, message)
            return
        task = asyncio.create_task(self._follow(plan, message))
        self._tasks.add(task)  # asyncio keeps only weak references to tasks
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, plan: StatusPlan, message: Message) -> None:
        era = self._era
        if plan.hold and not await self._gates.hold(plan.hold):
            return
        if plan.concurrent:
            await asyncio.gather(*(self.post(message, step) for step in plan.sequence))
            return
        for step in plan.sequence:
            await asyncio.sleep(plan.delay)
            if era != self._era:
                return
            await self.post(message, step)

    async def post(self, message: Message, step: JsonObject) -> int | None:
        """One status: the resource first, then the callback. The HTTP status of the answer, None if none."""
        code = step.get("error_code")
        text = ERRORS.get(code, (0, "Error"))[1] if code is not None else None
        message.move(step["status"], code, text)
        url = message.form.get("StatusCallback")
        if not url:
            return None
        form = status_form(
            message_sid=message.sid,
            status=step["status"],
            from_=str(message.form.get("From") or "whatsapp:+15550100"),
            to=message.form["To"],
            account_sid=message.account_sid,
            error_code=code,
            error_message=text,
            messaging_service_sid=message.form.get("MessagingServiceSid"),
        )
        answer = await self._deliver(url, form, self._token(message.account_sid))
        self._record.add({"kind": step["status"], "url": url, "form": form, "answer": answer})
        return answer

    async def _deliver(self, url: str, form: dict[str, str], token: str) -> int | None:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            for _ in range(_TRIES):
                try:
                    return (await post_signed(client, url, form, token=token)).status_code
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
                except httpx.HTTPError:
                    return None
        return None

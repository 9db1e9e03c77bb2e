"""What the WhatsApp fake posts: statuses of what was sent, in what order, how often, how late; and what people send.

A plan is one of `twilio_status`: `{"when": {...}, "sequence": ["sent", {"status": "failed", "code": 131049}]}`, with
`copies`, `reverse`, `concurrent`, `delay`, `early` and `hold`. Without one: sent, delivered.
"""

import asyncio
from collections.abc import Callable

import httpx

from tests.fakes.meta_inbound import APP_SECRET, post_signed, status, statuses_post
from tests.fakes.meta_wire import Sent
from tests.fakes.recorder import Gates, JsonObject, Recorder
from tests.fakes.twilio_status import DEFAULT_PLAN, StatusPlan

_TIMEOUT = httpx.Timeout(30.0)


class Webhooks:
    """Posts to `url`, where one is set, signed with `app_secret`. What was posted, and answered, is in `record`."""

    def __init__(self, record: Recorder, gates: Gates, matches: Callable[[JsonObject, Sent], bool]) -> None:
        self.record = record
        self._gates = gates
        self._matches = matches
        self._tasks: set[asyncio.Task[None]] = set()
        self._era = 0
        self.reset()

    def reset(self) -> None:
        """Statuses that are still to come belong to what was forgotten."""
        self.url, self.app_secret = "", APP_SECRET
        self.plans: list[StatusPlan] = []
        self._era += 1

    async def start(self, sent: Sent) -> None:
        """Move a message along its plan."""
        plan = next((plan for plan in self.plans if self._matches(plan.when, sent)), DEFAULT_PLAN)
        if plan.early:
            await self._follow(plan, sent)
            return
        task = asyncio.create_task(self._follow(plan, sent))
        self._tasks.add(task)  # asyncio keeps only weak references to tasks
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, plan: StatusPlan, sent: Sent) -> None:
        era = self._era
        if plan.hold and not await self._gates.hold(plan.hold):
            return
        if plan.concurrent:
            await asyncio.gather(*(self.tell(sent, step) for step in plan.sequence))
            return
        for step in plan.sequence:
            await asyncio.sleep(plan.delay)
            if era != self._era:
                return
            await self.tell(sent, step)

    async def tell(self, sent: Sent, step: JsonObject) -> int | None:
        """One status now: the HTTP status of the answer, None for none."""
        sent.statuses.append(step["status"])
        told = status(sent.wamid, step["status"], code=step.get("code"), recipient_id=sent.to)
        given = sent.body.get("biz_opaque_callback_data")
        return await self.post(
            statuses_post(told | ({"biz_opaque_callback_data": given} if given else {}), number=sent.number),
            step["status"],
        )

    async def post(self, post: JsonObject | bytes, kind: str = "post") -> int | None:
        """Anything, signed: the HTTP status of the answer, None for none."""
        if not self.url:
            return None
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            try:
                answer = (await post_signed(client, self.url, post, app_secret=self.app_secret)).status_code
            except httpx.HTTPError:
                answer = None
        shown = post.decode("utf-8", "replace") if isinstance(post, bytes) else post
        self.record.add({"kind": kind, "url": self.url, "post": shown, "answer": answer})
        return answer

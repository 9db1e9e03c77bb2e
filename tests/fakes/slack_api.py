"""A local Slack: one incoming webhook, which answers in Slack's words.

In a test: `with running(SlackFake()) as fake`, then SLACK_WEBHOOK_URL is `fake.webhook_url`. `fake.answers`: (status,
body, headers) of the next posts; then `ok`.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

import json
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.server import Fake

PATH = "/services/T00000000/B00000000/5ecretTokenOfTheWebhook"
LONGEST_TEXT = 4_000


class SlackFake(Fake):
    """`messages`: the bodies that were taken, oldest first."""

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(log)
        self.messages: list[JsonObject] = []
        self.answers: list[tuple[int, str, dict[str, str]]] = []

    @property
    def webhook_url(self) -> str:
        return self.url + PATH

    def apply_script(self, script: Any) -> None:
        self.answers = [tuple(answer) for answer in script["answers"]]

    def reset(self) -> None:
        super().reset()
        self.messages, self.answers = [], []

    def routes(self) -> list[Route]:
        return [Route(PATH, self._post, methods=["POST"])]

    def not_found(self, request: Request) -> Response:
        return PlainTextResponse("no_service", status_code=404)

    async def _post(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.record(request, "post", body, "ok")
        if self.answers:
            status, text, headers = self.answers.pop(0)
            return PlainTextResponse(text, status_code=status, headers=headers)
        problem = _problem(body)
        if problem:
            return PlainTextResponse(problem, status_code=400)
        self.messages.append(body)
        return PlainTextResponse("ok")


def _problem(body: JsonObject) -> str | None:
    if not body.get("text", "").strip():
        return "no_text"
    attachments = body.get("attachments", [])
    if len(attachments) > 100:
        return "too_many_attachments"
    texts = [body["text"]]
    for attachment in attachments:
        texts += [attachment.get("text", ""), attachment.get("footer", "")]
        texts += [field["value"] for field in attachment.get("fields", [])]
    return "invalid_payload" if any(len(text) > LONGEST_TEXT for text in texts) else None

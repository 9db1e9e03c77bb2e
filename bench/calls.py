"""How often one question that goes to the staff and back asks the model."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from bench.report import Samples, Table
from bench.servers import recado, say, wait_for_messages
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.support import BODEGA

RUNS = 3
ANA, ROSA = "+51911111111", "+51900000001"
QUESTION, ANSWER = "¿Venden gift cards?", "Sí, desde S/ 50"

RULES: list[dict[str, Any]] = [
    {
        "when": {"tool": "request_notification"},
        "reply": {
            "tool_calls": [
                {
                    "name": "request_notification",
                    "arguments": {
                        "question": QUESTION,
                        "language": "es",
                        "message_to_customer": "Le pregunto al equipo.",
                    },
                }
            ]
        },
    },
    {
        "when": {"tool": "answer_notification"},
        "reply": {
            "tool_calls": [
                {
                    "name": "answer_notification",
                    "arguments": {
                        "notification_id": "NOTIF_1",
                        "answer_json": f'{{"answer": "{ANSWER}"}}',
                        "message_to_staff": "Gracias, se lo digo.",
                    },
                }
            ]
        },
    },
    {"when": {}, "reply": {"content": f"El equipo confirma: {ANSWER}"}},
]


def run(folder: Path) -> list[Table]:
    """Calls of the model for one question round trip: customer, staff, customer."""
    calls, seconds = Samples(), Samples()
    for number in range(RUNS):
        with running(OpenAIFake(RULES)) as model:
            environment = {
                "MODEL_PROVIDER": "openai",
                "OPENAI_API_KEY": "bench",
                "OPENAI_BASE_URL": model.base_url,
                "TURN_QUIET_SECONDS": "0",
            }
            with recado(folder / str(number), BODEGA, environment) as server:
                seconds.add(asyncio.run(_round_trip(server.url)))
            calls.add(model.calls())
    return [
        Table(
            "A question to the staff and back, over HTTP to a local model that answers at once (aim: 5 calls)",
            ["", "calls of the model", "own seconds, end to end"],
            [["customer asks, Rosa answers, customer hears", calls.text(), seconds.text(2)]],
            f"median (range) of {RUNS} runs, each on a fresh database and a fresh process; no quiet period",
        )
    ]


async def _round_trip(url: str) -> float:
    """Play it through. Seconds from each message to what it causes, added up: people's own time does not count."""
    loop = asyncio.get_running_loop()
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
        start = loop.time()
        await say(client, ANA, QUESTION)
        await wait_for_messages(client, ROSA, 1, "NOTIF_1")
        await say(client, ROSA, ANSWER)
        await wait_for_messages(client, ANA, 1, ANSWER)
        taken = loop.time() - start
        await wait_for_messages(client, ROSA, 2)
        await asyncio.sleep(0.5)  # a call that is not needed would come now
    return taken

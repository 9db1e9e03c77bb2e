"""How many webhooks a second are on disk before their 200, beside an endpoint that stores nothing."""

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from bench.load import OUR_NUMBER
from bench.report import Samples, Table
from bench.servers import bare, recado
from tests.fakes.server import spawned
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN
from tests.support import ROOT, free_port

ROUNDS = 3
POSTS = 15_000
"""More than any server here takes in `SECONDS`."""
SECONDS = 3
CONNECTIONS = 64
REDIS_URL = os.environ.get("RECADO_BENCH_REDIS_URL", "redis://127.0.0.1:6379/13")
"""An empty Redis database for the intake alone; it is emptied afterwards."""

MERCHANT = f"""
merchants:
  - name: Bodega Sol
    sub_domain: bodega-sol
    channels:
      - {{kind: twilio, address: "{OUR_NUMBER}", account_sid: {ACCOUNT_SID}, auth_token: {AUTH_TOKEN}}}
    documents:
      - {{category: faq, title: "¿Hacen envíos?", content: "Sí, a todo Lima en 24 horas."}}
"""


@dataclass(slots=True)
class Figures:
    """One server's rounds."""

    rate: Samples = field(default_factory=Samples)
    p50: Samples = field(default_factory=Samples)
    p99: Samples = field(default_factory=Samples)
    accepted: int = 0

    def row(self, name: str, beside: "Figures", stored: str) -> list[str]:
        """This server's line of the table, with its share of the rate of the one beside it."""
        ratio = self.rate.median / beside.rate.median
        return [name, self.rate.text(), f"{ratio:.2f}", self.p50.text(1), self.p99.text(1), stored]


def run(folder: Path) -> list[Table]:
    """Webhooks stored per second, beside an endpoint that only checks the signature."""
    merchants = folder / "merchants.yaml"
    merchants.write_text(MERCHANT, encoding="utf-8")
    rows = []
    with bare() as (bare_url, _):
        rows += _beside(folder / "working", merchants, {}, bare_url, "and its worker in the process")
        if reason := _redis_problem():
            rows.append([f"left out, the intake alone: {reason}", *[""] * 5])
        else:
            try:
                rows += _beside(folder / "alone", merchants, {"QUEUE_URL": REDIS_URL}, bare_url, "alone")
            finally:
                redis.Redis.from_url(REDIS_URL).flushdb()
    return [
        Table(
            "Webhook intake: POST /webhooks/twilio, committed to disk before its 200 (aim: ratio 0.5)",
            ["", "req/s", "ratio", "p50 ms", "p99 ms", "rows / 200s"],
            rows,
            f"median (range) of {ROUNDS} rounds in turn, each {SECONDS} s of signed posts over {CONNECTIONS} "
            "connections; demo model, a local Twilio that reports every status",
        )
    ]


def _beside(folder: Path, merchants: Path, environment: dict[str, str], bare_url: str, name: str) -> list[list[str]]:
    """Rounds of the product and of the bare endpoint in turn."""
    ours, theirs = Figures(), Figures()
    port = free_port()
    outside = {"TWILIO_API_BASE_URL": f"http://127.0.0.1:{port}"}
    with (
        recado(folder, merchants, environment | outside) as server,
        spawned("tests.fakes.twilio_api", folder / "twilio.log", port=port),
    ):
        for _ in range(ROUNDS):
            _round(bare_url, theirs)
            _round(server.url, ours)
    stored = f"{_inbox_rows(folder / 'recado.db'):,} / {ours.accepted:,}"
    return [ours.row(f"recado serve, {name}", theirs, stored), theirs.row("  beside it, the bare endpoint", theirs, "")]


def _round(url: str, figures: Figures) -> None:
    command = [sys.executable, "-m", "bench.load", f"{url}/webhooks/twilio", str(POSTS), str(SECONDS), str(CONNECTIONS)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    figures.rate.add(found["accepted"] / found["seconds"])
    figures.p50.add(found["p50_ms"])
    figures.p99.add(found["p99_ms"])
    figures.accepted += int(found["accepted"])


def _inbox_rows(database: Path) -> int:
    """Inbound messages that are on disk; what the fake Twilio reported about replies is not counted."""
    connection = sqlite3.connect(database)
    try:
        query = "SELECT count(*) FROM inbox_events WHERE provider_event_id NOT LIKE '%:%'"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def _redis_problem() -> str | None:
    try:
        found = redis.Redis.from_url(REDIS_URL, socket_connect_timeout=2).dbsize()
    except redis.RedisError as error:
        return f"no Redis at RECADO_BENCH_REDIS_URL ({type(error).__name__})"
    return f"the database {REDIS_URL} is not empty" if found else None

"""The log of a process: in production one JSON object a line, whoever wrote it, with the ids of the work in hand."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from recado.entrypoints.logs import secrets_of
from recado.settings import Settings

SETTINGS = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "a-secret-key-of-at-least-32-characters",
    "API_KEY": "the-platforms-own-key-of-32-characters",
    "OPENAI_API_KEY": "not-in-the-usual-form",
    "DATABASE_URL": "postgresql+psycopg://recado:p%40ss-word@db/recado",
    "DISCORD_WEBHOOK_URL": "https://discord.example/hook/the-token-of-it",
}
BEGIN = """
    import asyncio, logging, threading, warnings
    import structlog
    from recado.entrypoints.logs import configure_logs
    from recado.settings import Settings
    from recado.telemetry.context import about
    configure_logs(Settings(_env_file=None))
    log = structlog.get_logger("recado.test")
"""


def run(work: str, **settings: str) -> tuple[str, int]:
    """What a process prints that sets up the log and does this, and how it ends."""
    program = textwrap.dedent(BEGIN) + textwrap.dedent(work)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**SETTINGS, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.returncode


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_our_lines_and_the_libraries_are_alike() -> None:
    output, _ = run("""
        with about(merchant_id=1, turn_id=2, conversation_id=None):
            log.info("ours", count=3)
            logging.getLogger("library.part").warning("theirs %s", "of +51900000001")
            warnings.warn("be careful", UserWarning)
        log.info("after")
    """)
    ours, theirs, warned, after = lines(output)
    for line in (ours, theirs, warned, after):
        assert {"event", "level", "logger", "timestamp"} <= set(line)
    ids = {"merchant_id": 1, "turn_id": 2}
    assert ours == ours | ids | {"event": "ours", "count": 3, "level": "info", "logger": "recado.test"}
    assert theirs == theirs | ids | {"event": "theirs of +51…01", "level": "warning", "logger": "library.part"}
    assert warned["logger"] == "py.warnings"
    assert "be careful" in warned["event"]
    assert not {"turn_id", "merchant_id", "conversation_id"} & set(after)


def test_tracebacks_are_one_line_wherever_they_come_from() -> None:
    output, code = run("""
        def fail():
            raise ValueError("no: +51900000001, not-in-the-usual-form")
        try:
            fail()
        except ValueError:
            log.warning("ours", exc_info=True)
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
            logging.getLogger("saq").exception("Error processing job")
        async def forgotten():
            asyncio.get_running_loop().call_exception_handler({"message": "asyncio's", "exception": ValueError("x")})
        asyncio.run(forgotten())
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        fail()
    """)
    found = lines(output)
    assert [line["logger"] for line in found] == ["recado.test", "uvicorn.error", "saq", "asyncio", "recado", "recado"]
    assert code == 1
    for line in found:
        assert line["exception"].startswith("Traceback (most recent call last):") or line["logger"] == "asyncio"
        assert "ValueError" in line["exception"]
    assert "900000" not in output
    assert "not-in-the-usual-form" not in output
    assert {line["level"] for line in found} == {"warning", "error", "critical"}


def test_the_settings_own_secrets_are_hidden_whatever_log_masked_says() -> None:
    secrets = {**SETTINGS, "PASSWORD": "p@ss-word", "QUOTED": "p%40ss-word", "TOKEN": "the-token-of-it"}
    del secrets["ENVIRONMENT"], secrets["DATABASE_URL"]
    output, _ = run(f"log.info('secrets', given={list(secrets.values())!r}, phone='+51900000001')", LOG_MASKED="false")
    assert [name for name, secret in secrets.items() if secret in output] == []
    assert lines(output)[0]["phone"] == "+51900000001"


def test_every_setting_with_a_secret_is_known() -> None:
    """By their names: whoever adds one need not think of the log."""
    like_secrets = ("key", "secret", "token", "password", "webhook")
    named = [name for name in Settings.model_fields if any(part in name for part in like_secrets)]
    assert len(named) >= 8
    values = {name: f"value-of-{name}" for name in named}
    settings = Settings(_env_file=None, smtp_url="smtp://bot:pass%20word@mail.example:587", **values)
    assert set(values.values()) <= set(secrets_of(settings))
    assert {"pass%20word", "pass word"} <= set(secrets_of(settings))


def test_libraries_that_tell_of_every_request_are_not_heard() -> None:
    output, _ = run(
        """
        for name in ("httpx", "openai._base_client", "twilio.http_client", "aiosqlite", "uvicorn.access", "saq"):
            logging.getLogger(name).info("a body")
        for name in ("httpcore.http11", "openai._base_client", "any.other"):
            logging.getLogger(name).debug("a body")
        logging.getLogger("saq").warning("cancelled")
        logging.getLogger("any.other").info("heard")
        log.debug("ours")
    """,
        LOG_LEVEL="DEBUG",
    )
    assert [line["event"] for line in lines(output)] == ["heard", "ours"]


def test_what_is_below_the_level_is_not_written() -> None:
    output, _ = run(
        """
        log.info("ours")
        logging.getLogger("library").info("theirs")
        log.warning("heard")
    """,
        LOG_LEVEL="WARNING",
    )
    assert [line["event"] for line in lines(output)] == ["heard"]


def test_in_development_it_is_for_people() -> None:
    output, _ = run(
        """
        log.info("ours", text="hola", phone="+51900000001")
        logging.getLogger("library").warning("theirs")
    """,
        ENVIRONMENT="development",
    )
    ours, theirs = output.splitlines()
    assert "ours" in ours
    assert "text='[4 characters]'" in ours
    assert "phone=+51…01" in ours
    assert "theirs" in theirs
    assert "[library]" in theirs


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_a_line_costs_little(kind: str) -> None:
    """Typically 15 to 25 µs. The bound is generous: other tests run at the same time."""
    output, _ = run(
        """
        import sys, time
        ours = lambda: log.warning("delivery will be tried again", delivery_id=5, error="HTTP 429 from api.twilio.com")
        theirs = lambda: logging.getLogger("library").warning("HTTP %s from %s", 429, "api.twilio.com")
        work, out, best = {"ours": ours, "theirs": theirs}[KIND], sys.stdout, 1.0
        sys.stdout = open("/dev/null", "w")
        with about(merchant_id=1, conversation_id=2, turn_id=3, trace_id="0123456789abcdef0123456789abcdef"):
            for _ in range(20):
                started = time.perf_counter()
                for _ in range(200):
                    work()
                best = min(best, (time.perf_counter() - started) / 200)
        print(best, file=out)
    """.replace("KIND", repr(kind))
    )
    assert float(output) < 200e-6

"""The `recado` command as an operator meets it: what it refuses, what it says, and how it stops."""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, alive, query, until
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.server import running
from tests.processes import INHERITED, Done, Run, run_afresh, run_forked
from tests.support import copy_database, free_port


class Terminal:
    """A folder with nothing in it, and the command."""

    def __init__(self, folder: Path, run: Run = run_forked) -> None:
        self.folder = folder
        self.run = run
        self.environment = INHERITED | {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/recado.db"}

    def recado(self, *words: str, **environment: str) -> Done:
        return self.run(*words, folder=self.folder, environment=self.environment | environment, timeout=30)

    def serve(self, **environment: str) -> Done:
        return self.recado("serve", "--port", str(free_port()), **environment)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def refuses(done: Done, *remedies: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    for remedy in remedies:
        assert remedy in said


def test_a_fresh_machine_is_led_from_one_command_to_the_next(tmp_path: Path, merchants_file: Path) -> None:
    terminal = Terminal(tmp_path, run_afresh)
    refuses(terminal.serve(), "recado migrate")
    migrated = terminal.recado("migrate")
    assert (migrated.returncode, "schema is now at" in migrated.stdout) == (0, True)
    refuses(terminal.recado("doctor"), "FAIL", "recado apply")
    wrong = terminal.folder / "wrong.yaml"
    wrong.write_text(
        "merchants:\n  - name: X\n    sub_domain: x\n    channels:\n      - {kind: pigeon, address: '+1'}\n"
    )
    refuses(terminal.recado("apply", str(wrong)), "wrong.yaml:5", "kind")
    assert "created" in terminal.recado("apply", str(merchants_file)).stdout
    assert "nothing to change" in terminal.recado("apply", str(merchants_file)).stdout
    with running(OpenAIFake()) as openai:
        done = terminal.recado("doctor", OPENAI_API_KEY="x", OPENAI_BASE_URL=openai.base_url)
    assert done.returncode == 0, done.stdout
    assert "gpt-4.1 is offered" in done.stdout
    assert "FAIL" not in done.stdout


def test_production_refuses_defaults_with_remedies(terminal: Terminal) -> None:
    remedies = ("openssl rand -hex 32", "set OPENAI_API_KEY", "PUBLIC_BASE_URL", "https://")
    refuses(terminal.serve(ENVIRONMENT="production"), *remedies)


@pytest.mark.parametrize(
    ("environment", "remedies"),
    [
        ({"MODEL_PROVIDER": "openai"}, ("OPENAI_API_KEY",)),
        ({"MODEL_PROVIDER": "magic", "TURN_QUIET_SECONDS": "soon"}, ("MODEL_PROVIDER", "TURN_QUIET_SECONDS")),
        ({"QUEUE_URL": "ftp://x"}, ("QUEUE_URL",)),
        ({"CHECKPOINT_URL": "ftp://x/y"}, ("CHECKPOINT_URL",)),
        ({"DATABASE_URL": "sqlite+aiosqlite:////proc/nowhere/recado.db"}, ("DATABASE_URL", "recado doctor")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_settings_are_named(
    terminal: Terminal, prepared_shops: Path, environment: Mapping[str, str], remedies: tuple[str, ...]
) -> None:
    copy_database(prepared_shops, terminal.folder)
    refuses(terminal.serve(**environment), *remedies)


def test_a_worker_of_its_own_needs_a_queue_of_its_own(terminal: Terminal) -> None:
    refuses(terminal.recado("worker"), "QUEUE_URL")


def test_doctor_names_each_problem_with_its_remedy(terminal: Terminal, prepared_shops: Path) -> None:
    copy_database(prepared_shops, terminal.folder)
    several = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "QUEUE_URL": "redis://127.0.0.1:1"}
    several["SECRET_KEY"] = "another-key-than-the-one-they-were-stored-with"
    refuses(terminal.recado("doctor", **several), "SECRET_KEY", "OPENAI_BASE_URL", "QUEUE_URL")
    with running(OpenAIFake()) as openai:
        provider = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": openai.base_url}
        refuses(terminal.recado("doctor", CHAT_MODEL="gpt-0", **provider), "CHAT_MODEL")
        openai.withdrawn = {"text-embedding-3-small"}
        by_word = terminal.recado("doctor", **provider)
        assert by_word.returncode == 0, by_word.stdout
        assert "by word alone: text-embedding-3-small is not offered" in by_word.stdout
        assert "without template merchant_user_notification_closed (es)" in by_word.stdout  # the odd shops
        openai.api_keys = {"right"}
        refuses(terminal.recado("doctor", **provider), "OPENAI_API_KEY")


def test_doctor_sees_templates_and_campaigns_that_are_missing(terminal: Terminal, prepared_shops: Path) -> None:
    copy_database(prepared_shops, terminal.folder)
    with closing(sqlite3.connect(terminal.folder / "recado.db")) as connection, connection:
        connection.execute(
            "UPDATE campaigns SET enabled = 0 WHERE name = 'customer_support_response' AND merchant_id = 1"
        )
        connection.execute("UPDATE channel_accounts SET templates = '{}' WHERE address = ?", [ALL_SHOPS[0].twilio])
    done = terminal.recado("doctor")
    refuses(done, "customer_support_response is disabled", "merchant_user_override_request", "under `templates`")
    failing = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert len(failing) == 2, failing


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    return start_world()


def test_sigterm_lets_a_running_turn_end(world: World) -> None:
    shop, ana = ALL_SHOPS[0], ALL_SHOPS[0].customer(1)
    world.openai.brain = lambda _: {"content": "Terminé.", "latency": 1.5}
    world.inbound(shop, ana, "hola")
    world.openai.requests.wait(1, "chat")
    started = time.monotonic()
    world.server.stop()
    assert time.monotonic() - started < 10
    world.server.start()
    assert world.gets(ana)[0]["Body"] == "Terminé."
    world.quiet()
    assert (len(world.forms(ana)), world.openai.calls()) == (1, 1)


def test_sigterm_does_not_wait_for_ever_and_loses_nothing(world: World) -> None:
    shop = ALL_SHOPS[1]
    people = [shop.customer(number) for number in range(10)]
    world.openai.reset()
    world.openai.brain = lambda _: {"content": "Al fin.", "hold": "long"}
    for person in people:
        world.inbound(shop, person, f"espero-{person}")
    world.openai.requests.wait(len(people), "chat")
    started = time.monotonic()
    world.server.stop()
    assert time.monotonic() - started < 12
    states = query(world.server, "SELECT state FROM turns WHERE state != 'done'")
    assert [row["state"] for row in states] == ["running"] * len(people)
    world.openai.brain = lambda _: {"content": "Al fin."}
    world.server.start()
    until(lambda: all(world.forms(person) for person in people), world.log_tail)
    world.quiet()
    assert [[form["Body"] for form in world.forms(person)] for person in people] == [["Al fin."]] * len(people)
    assert alive(world.server)

"""`recado trace`: what happened to a message, for operators."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from recado.db.engine import Database
from recado.entrypoints.cli import app
from recado.settings import get_settings
from recado.stories.schemas import Story
from tests.builders import ANA
from tests.stories.house import ASKED, House, make_house

Work = Callable[[Database], Coroutine[Any, Any, None]]


@pytest.fixture
def url(tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    path = tmp_path / "recado.db"
    path.write_bytes(migrated_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{path}")
    get_settings.cache_clear()
    yield f"sqlite+aiosqlite:///{path}"
    get_settings.cache_clear()


def happens(url: str, work: Work) -> None:
    async def run() -> None:
        database = Database(url)
        await work(database)
        await database.close()

    asyncio.run(run())


async def round_trip(database: Database) -> None:
    house = await make_house(database)
    await house.write("hola", message_id="SM00000000000000000000000000000001")
    await house.round_trip()


def recado(*words: str) -> Result:
    return CliRunner().invoke(app, ["trace", *words])


def test_a_question_that_went_to_the_staff_and_back(url: str) -> None:
    happens(url, round_trip)
    by_number, by_sid = recado("3"), recado("SM00000000000000000000000000000001")
    assert by_number.exit_code == 0, by_number.output
    assert by_number.stdout.startswith(
        "message 3 of shop: text, user, simulator, conversation 1 with the customer (+51…11)\n"
    )
    for fragment in ("NOTIF_1: the staff is asked", "request_notification", "Rosa of the staff", "read, the provider"):
        assert fragment in by_number.stdout
    for secret in (ANA, ASKED, "\x1b"):
        assert secret not in by_number.stdout
    assert by_sid.stdout.startswith("message 1 of shop")
    assert recado("p2").stdout.splitlines()[0].startswith("message ")
    assert max(map(len, by_number.stdout.splitlines())) <= 100


def test_texts_are_shown_when_they_are_wanted(url: str) -> None:
    happens(url, round_trip)
    shown = recado("3", "--texts").stdout
    assert f"| {ASKED}" in shown
    assert ANA in shown


def test_json_is_what_the_api_gives(url: str) -> None:
    happens(url, round_trip)
    printed = recado("3", "--json")
    story = Story.model_validate_json(printed.stdout)
    told: list[Story] = []

    async def tell(database: Database) -> None:
        told.append(await House(await _shop(database)).story(3))

    happens(url, tell)
    assert [one.facts["state"] for one in story.moments if one.kind == "status"][-2:] == ["delivered", "read"]
    assert story == told[0]
    assert json.loads(printed.stdout)["links"] == {}


async def _shop(database: Database) -> Any:
    return (await make_house(database)).shop


def test_what_is_not_there_says_what_to_check(url: str) -> None:
    happens(url, round_trip)
    for words in (["SM404"], ["999"], ["3", "--merchant", "nobody"]):
        missing = recado(*words)
        assert missing.exit_code == 1
        assert missing.stdout == ""
        for hint in (repr(words[0]), "DATABASE_URL", "recado doctor --live"):
            assert hint in missing.stderr
        assert "Traceback" not in missing.output
    assert "a message of nobody" in missing.stderr


def test_an_id_of_two_merchants(url: str) -> None:
    async def twice(database: Database) -> None:
        for sub_domain, address in (("shop", "+15550100"), ("other", "+15550200")):
            house = await make_house(database, sub_domain, address)
            await house.write("hola", message_id="same")

    happens(url, twice)
    both = recado("same")
    assert both.exit_code == 1
    assert "1 of shop, 3 of other" in both.stderr
    assert "--merchant" in both.stderr
    assert recado("same", "--merchant", "other").stdout.startswith("message 3 of other")


def test_an_event_that_became_no_message(url: str) -> None:
    async def unrouted(database: Database) -> None:
        house = await make_house(database)
        inbox = house.inbox
        await inbox.intake.accept([inbox.raw(inbox.message("hola"), "+15559999", key="SM7")])
        await inbox.ingest.run()
        await inbox.intake.accept([inbox.raw(inbox.message("hola"), key="SM8")])

    happens(url, unrouted)
    told = recado("SM7")
    assert told.exit_code == 0
    assert "it is unrouted, and no message" in " ".join(told.stdout.split())
    assert "why: no channel account has this address: add it with `recado apply`" in told.stdout
    assert "alert: event_unrouted at 12:00:00 UTC" in told.stdout
    assert "it is received" in recado("SM8").stdout
    assert json.loads(recado("SM7", "--json").stdout)[0]["state"] == "unrouted"


def test_a_database_that_is_behind_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/none.db")
    get_settings.cache_clear()
    behind = recado("1")
    get_settings.cache_clear()
    assert behind.exit_code == 1
    assert "recado migrate" in behind.stderr

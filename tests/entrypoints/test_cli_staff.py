"""`recado staff`: codes and links for operators."""

import asyncio

import pytest
from typer.testing import CliRunner, Result

from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Contact
from recado.entrypoints.cli import app
from recado.merchants.linking import StaffLinks, find_code
from tests.builders import LUIS

ID = "17841400000000001"


def recado(*words: str) -> Result:
    return CliRunner().invoke(app, ["staff", *words])


def redeem(url: str, code: str) -> str | None:
    async def run() -> str | None:
        database = Database(url)
        written = find_code(code)
        assert written is not None
        contact = Contact(channel="instagram", channel_user_id=ID)
        async with database.transaction() as session:
            member = await StaffLinks(session, 1, Clock()).redeem(written.code, contact)
        await database.close()
        return member.name if member else None

    return asyncio.run(run())


def test_a_code_links_and_the_link_is_shown_and_taken_away(url: str) -> None:
    made = recado("link", "bodega-sol", LUIS)
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("LINK-")
    assert len(made.stdout.split()) == 1, "so that it can be piped"
    assert "Luis writes this to bodega-sol" in made.stderr
    assert redeem(url, made.stdout) == "Luis"
    listed = recado("list", "bodega-sol")
    assert "link 1: instagram 178…01" in listed.stdout
    assert ID not in listed.output
    assert recado("unlink", "bodega-sol", "1").exit_code == 0
    assert "link 1" not in recado("list", "bodega-sol").stdout
    assert recado("link", "bodega-sol", "2").stdout.startswith("LINK-")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["link", "nobody", LUIS], "recado apply"),
        (["link", "bodega-sol", "+51999999999"], "recado staff list bodega-sol"),
        (["link", "bodega-sol", "999"], "recado staff list bodega-sol"),
        (["link", "bodega-sol", "Luis"], "E.164"),
        (["unlink", "bodega-sol", "7"], "recado staff list bodega-sol"),
    ],
)
def test_what_cannot_be_done_says_what_can(url: str, words: list[str], remedy: str) -> None:
    done = recado(*words)
    assert done.exit_code == 1
    assert remedy in done.stderr
    assert "Traceback" not in done.output

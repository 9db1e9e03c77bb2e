"""Having a merchant's templates made at its providers, and keeping what these say of them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from recado.campaigns.approvals import ApprovalRepository, Approvals
from recado.campaigns.jobs import EVERY, ApprovalJobs
from recado.campaigns.outcomes import Outcome
from recado.campaigns.templates import ANSWER_READY, QUESTION_ANSWER, QUESTION_REQUEST, TEXTS
from recado.channels.base import template_id
from recado.channels.management import Approval
from recado.channels.managements import open_managements
from recado.db.engine import Database
from recado.db.models import ChannelAccount, Merchant
from recado.merchants.account import Account
from recado.merchants.repository import to_account
from recado.settings import Settings
from tests.alert_log import AlertLog
from tests.builders import SetClock, apply_specs
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import ACCESS_TOKEN, PHONE_NUMBER_ID, WABA_ID
from tests.fakes.server import running
from tests.fakes.twilio_api import TwilioFake
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN

OWN_WORDS = "Gracias por esperar, {{lead_name}}. El equipo de la bodega dice: «{{answer}}». Escríbenos si falta algo."
TWILIO = {"kind": "twilio", "address": "+15550200123", "account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}
WHATSAPP = {
    "kind": "whatsapp",
    "phone_number_id": PHONE_NUMBER_ID,
    "waba_id": WABA_ID,
    "access_token": ACCESS_TOKEN,
    "app_secret": "app-secret-1",
    "verify_token": "verify-1",
}


@dataclass
class Office:
    """A merchant, its providers, and what came of asking them."""

    database: Database
    approvals: Approvals
    alerts: AlertLog
    twilio: TwilioFake
    meta: MetaFake
    settings: Settings
    merchant_id: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    async def shop(self, *channels: Mapping[str, Any], own_texts: Any = None, name: str = "shop") -> None:
        texts = {"templates": own_texts} if own_texts else {}
        spec = {"name": name, "sub_domain": name, "language": "es", "channels": list(channels), **texts}
        await apply_specs(self.database, spec)
        async with self.database.read() as session:
            found = await session.scalar(select(Merchant.id).where(Merchant.sub_domain == name))
        assert found is not None
        self.merchant_id = found

    async def create(self, languages: Sequence[str] | None = ("es",), **more: Any) -> list[Outcome]:
        return [outcome async for outcome in self.approvals.create(self.merchant_id, languages, **more)]

    async def status(self) -> list[Outcome]:
        return [outcome async for outcome in self.approvals.status(self.merchant_id)]

    async def account(self) -> Account:
        return to_account(await self.row())

    async def row(self) -> ChannelAccount:
        async with self.database.read() as session:
            [row] = await ApprovalRepository(session, self.merchant_id).accounts()
            return row

    async def kept(self) -> dict[str, Any]:
        return (await self.row()).approvals or {}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[TwilioFake, MetaFake]]:
    with ExitStack() as stack:
        yield stack.enter_context(running(TwilioFake())), stack.enter_context(running(MetaFake()))


@pytest.fixture
async def office(database: Database, servers: tuple[TwilioFake, MetaFake]) -> AsyncIterator[Office]:
    twilio, meta = servers
    twilio.reset()
    meta.reset()
    settings = Settings(
        _env_file=None, twilio_api_base_url=twilio.url, meta_graph_base_url=meta.url, provider_timeout_seconds=10
    )
    alerts = AlertLog(database)
    async with open_managements(settings, SetClock()) as managements:
        yield Office(database, Approvals(database, managements, SetClock()), alerts, twilio, meta, settings)


def by_status(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {status: len([o for o in outcomes if o.status == status]) for status in sorted({o.status for o in outcomes})}


async def test_everything_is_made_once_at_twilio(office: Office) -> None:
    await office.shop(TWILIO)
    assert by_status(await office.create()) == {"approved": 1, "pending": len(TEXTS)}
    assert by_status(await office.create()) == {"approved": 1, "pending": len(TEXTS)}
    assert len(office.twilio.content.made) == len(TEXTS) + 1
    kept = await office.kept()
    assert set(kept) == {*TEXTS, "answer_button"}
    stored = kept[QUESTION_REQUEST]["es"]
    assert stored == {"status": "pending", "id": stored["id"], "reason": None, "category": "UTILITY"}
    account = await office.account()
    assert template_id(account, QUESTION_REQUEST, "es") is None
    assert template_id(account, "answer_button", "es") == kept["answer_button"]["es"]["id"]


async def test_everything_is_made_once_at_meta(office: Office) -> None:
    await office.shop(WHATSAPP)
    office.meta.apply_script({"status": "APPROVED"})
    assert by_status(await office.create(None)) == {"approved": 4 * len(TEXTS)}
    assert by_status(await office.create(None)) == {"approved": 4 * len(TEXTS)}
    assert set(office.meta.templates) == {(name, code) for name in TEXTS for code in ("es", "en", "pt_BR", "fr")}
    assert template_id(await office.account(), ANSWER_READY, "pt") == ANSWER_READY


async def test_the_merchants_own_words_win(office: Office) -> None:
    await office.shop(WHATSAPP, own_texts={QUESTION_ANSWER: {"es": OWN_WORDS}})
    await office.create()
    assert office.meta.templates[QUESTION_ANSWER, "es"].body == OWN_WORDS


async def test_what_the_yaml_names_is_not_made(office: Office) -> None:
    named = {QUESTION_ANSWER: "HX" + "1" * 32, ANSWER_READY: {"es": "HX" + "2" * 32}}
    await office.shop({**TWILIO, "templates": named})
    made = {outcome.name for outcome in await office.create(["es", "en"])}
    assert QUESTION_ANSWER not in made
    assert len(office.twilio.content.made) == 2 * (len(TEXTS) - 1) - 1 + 2


async def test_a_dry_run_makes_nothing(office: Office) -> None:
    await office.shop(WHATSAPP)
    assert by_status(await office.create(dry_run=True)) == {"to make": len(TEXTS)}
    assert (office.meta.templates, await office.kept()) == ({}, {})
    await office.create()
    assert by_status(await office.create(dry_run=True)) == {"pending": len(TEXTS)}


async def test_changed_words_are_made_anew(office: Office) -> None:
    await office.shop(WHATSAPP)
    office.meta.apply_script({"status": "APPROVED"})
    await office.create()
    await office.shop(WHATSAPP, own_texts={QUESTION_ANSWER: {"es": OWN_WORDS}})
    [stale] = [
        outcome for outcome in await office.status() if (outcome.name, outcome.language) == (QUESTION_ANSWER, "es")
    ]
    assert stale.remedy == "the merchant's words are others by now: run `recado templates create`"
    await office.create()
    assert template_id(await office.account(), QUESTION_ANSWER, "es") == f"{QUESTION_ANSWER}_v2"
    assert office.meta.templates[f"{QUESTION_ANSWER}_v2", "es"].body == OWN_WORDS


async def test_a_crash_between_the_provider_and_the_database(office: Office) -> None:
    await office.shop(TWILIO)
    outcomes = office.approvals.create(office.merchant_id, ["es"])
    first = await anext(outcomes)
    await outcomes.aclose()
    async with office.database.transaction() as session:
        row = await session.get_one(ChannelAccount, first.account.id)
        row.approvals = None
    await office.create()
    assert len(office.twilio.content.made) == len(TEXTS) + 1
    assert set(await office.kept()) == {*TEXTS, "answer_button"}


async def test_one_that_is_refused_does_not_stop_the_others(office: Office) -> None:
    await office.shop(WHATSAPP)
    fault = {"when": {"op": "create", "contains": ANSWER_READY}, "fault": {"code": 100, "subcode": 2388293}}
    office.meta.apply_script({"faults": [fault]})
    outcomes = await office.create()
    assert by_status(outcomes) == {"failed": 1, "pending": len(TEXTS) - 1}
    [refused] = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert (refused.name, refused.language) == (ANSWER_READY, "es")
    assert refused.text.startswith("WhatsApp ")
    assert refused.remedy


async def test_too_many_for_an_hour(office: Office) -> None:
    await office.shop(WHATSAPP)
    limit = {"when": {"op": "create"}, "fault": {"code": 80007, "status": 429, "retry_after": 600}}
    office.meta.apply_script({"faults": [{"when": {"op": "create"}, "fault": {"latency": 0}, "times": 2}, limit]})
    outcomes = await office.create()
    assert by_status(outcomes) == {"failed": 2, "pending": 2}
    assert outcomes[-1].text == f"{len(TEXTS) - 2} templates are left to be made"
    assert outcomes[-1].remedy == "run it again in 600 seconds: it goes on where it stopped"
    office.meta.apply_script({"faults": []})
    assert by_status(await office.create()) == {"pending": len(TEXTS)}
    assert len(office.meta.templates) == len(TEXTS)


async def test_a_provider_that_is_away_is_not_asked_for_each(office: Office) -> None:
    await office.shop(WHATSAPP)
    office.meta.apply_script({"faults": [{"when": {"op": "create"}, "fault": {"status": 502, "html": True}}]})
    outcomes = await office.create()
    assert len(office.meta.requests.entries("create")) == 3
    assert outcomes[-1].text == f"{len(TEXTS) - 2} templates are left to be made"


async def test_an_account_that_cannot_be_read(office: Office) -> None:
    await office.shop({**WHATSAPP, "access_token": "a-withdrawn-token"}, TWILIO)
    outcomes = await office.create()
    assert (outcomes[0].status, outcomes[0].name) == ("failed", "")
    assert by_status(outcomes[1:]) == {"approved": 1, "pending": len(TEXTS)}
    without = {name: value for name, value in WHATSAPP.items() if name != "waba_id"}
    await office.shop(without)
    [outcome] = await office.status()
    assert "waba_id" in outcome.remedy


async def test_accounts_without_templates_are_left_out(office: Office) -> None:
    await office.shop({"kind": "simulator", "address": "+15550100"})
    assert (await office.create(), await office.status()) == ([], [])


async def test_the_status_is_asked_for_and_kept(office: Office) -> None:
    await office.shop(TWILIO)
    await office.create()
    ids = {name: languages["es"]["id"] for name, languages in (await office.kept()).items()}
    for sid in ids.values():
        office.twilio.content.approve(sid, "approved", category="UTILITY")
    office.twilio.content.approve(ids[QUESTION_ANSWER], "rejected", rejection_reason="Too\nvague")
    office.twilio.content.approve(ids[ANSWER_READY], "approved", category="MARKETING")
    shown = {(outcome.name, outcome.language): outcome for outcome in await office.status()}
    assert shown[QUESTION_REQUEST, "es"].remedy == ""
    assert shown[QUESTION_REQUEST, "en"].status == "missing"
    rejected = shown[QUESTION_ANSWER, "es"]
    assert (rejected.status, rejected.text) == ("rejected", "Too vague")
    assert "recado templates create" in rejected.remedy
    assert "marketing" in shown[ANSWER_READY, "es"].remedy
    account = await office.account()
    assert template_id(account, QUESTION_REQUEST, "es") == ids[QUESTION_REQUEST]
    assert template_id(account, QUESTION_ANSWER, "es") is None


async def test_what_the_yaml_names_is_looked_up_by_its_id(office: Office) -> None:
    templates = {QUESTION_REQUEST: "asks", QUESTION_ANSWER: {"es": "tells", "pt": "positional:tells"}}
    await office.shop({**WHATSAPP, "templates": templates})
    office.meta.apply_script(
        {
            "templates": [
                {"name": "asks", "language": "es", "body": "x", "status": "PAUSED"},
                {"name": "tells", "language": "es", "body": "x"},
            ]
        }
    )
    shown = {(outcome.name, outcome.language): outcome for outcome in await office.status()}
    assert shown[QUESTION_REQUEST, "es"].status == "paused"
    assert (shown[QUESTION_ANSWER, "es"].status, shown[QUESTION_ANSWER, "es"].remedy) == ("approved", "")
    assert "the YAML names an id" in shown[QUESTION_ANSWER, "pt"].remedy
    # One id for all languages would be narrowed to those that were found.
    assert QUESTION_REQUEST not in await office.kept()


async def test_approvals_are_asked_for_while_somebody_waits(office: Office) -> None:
    await office.shop(TWILIO)
    await office.create()
    jobs = ApprovalJobs(office.database, SetClock(), office.settings)
    ids = {name: languages["es"]["id"] for name, languages in (await office.kept()).items()}
    office.twilio.content.approve(ids[QUESTION_ANSWER], "rejected", rejection_reason="Too vague")
    await jobs.refresh()
    await jobs.refresh()
    assert (await office.kept())[QUESTION_ANSWER]["es"]["status"] == "rejected"
    [(title, text, context)] = office.alerts.sent
    assert title == "template_withdrawn"
    assert "Too vague" in text
    assert "recado templates create" in text
    assert context["merchant_id"] == office.merchant_id
    for sid in ids.values():
        office.twilio.content.approve(sid, "approved")
    await jobs.refresh()
    asked = len(office.twilio.requests.entries("contents"))
    await jobs.refresh()
    assert len(office.twilio.requests.entries("contents")) == asked  # nobody waits any more


async def test_a_refresh_that_finds_nobody_home_says_so_in_the_log_only(office: Office) -> None:
    await office.shop(TWILIO)
    await office.create()
    office.twilio.apply_script({"faults": [{"when": {"op": "contents"}, "fault": {"status": 503, "html": True}}]})
    before = await office.kept()
    await office.approvals.refresh([office.merchant_id])
    assert (await office.kept(), office.alerts.sent) == (before, [])


def test_once_an_hour(tmp_path: Path) -> None:
    clock, database = SetClock(), Database(f"sqlite+aiosqlite:///{tmp_path}/unused.db")
    jobs = ApprovalJobs(database, clock, Settings(_env_file=None))
    assert [jobs.is_due(), jobs.is_due()] == [True, False]
    clock.time += EVERY
    assert [jobs.is_due(), jobs.is_due()] == [True, False]


async def test_merchants_are_walls(office: Office) -> None:
    await office.shop(TWILIO)
    mine, account = office.merchant_id, await office.account()
    await office.shop({**TWILIO, "address": "+15550200124"}, name="other")
    found = {(QUESTION_REQUEST, "es"): Approval("approved", "HX1")}
    async with office.database.transaction() as session:
        await ApprovalRepository(session, office.merchant_id).keep(account.id, found)
    office.merchant_id = mine
    assert await office.kept() == {}

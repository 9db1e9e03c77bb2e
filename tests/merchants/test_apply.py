"""`recado apply`: idempotent, all or nothing, and it says what it changed."""

from typing import Any

import pytest
from sqlalchemy import select, update

from recado.campaigns.service import DEFAULT_CAMPAIGNS
from recado.campaigns.templates import SUPPORT_REQUEST
from recado.clock import Clock
from recado.db.engine import Database
from recado.db.models import Campaign, ChannelAccount, Document, Merchant, MerchantUser
from recado.documents.service import DocumentService
from recado.errors import ConfigurationError
from recado.merchants.repository import MerchantRepository, find_account
from tests.builders import ROSA, another_secret_key, apply_specs, merchant_spec

FAQ = {"category": "faq", "title": "¿Hacen envíos?", "content": "Sí, a todo Lima."}
HOURS = {"category": "faq", "title": "¿Horario?", "content": "De 9 a 19."}
TWILIO = {
    "kind": "twilio",
    "address": "+14155238886",
    "account_sid": "AC" + "0" * 32,
    "auth_token": "a-secret-token",
    "templates": {"merchant_user_question_request": {"es": "HX1"}},
}


async def rows(database: Database, model: Any) -> list[Any]:
    async with database.read() as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def test_applying_twice_changes_nothing(database: Database) -> None:
    channels = [{"kind": "simulator", "address": "+15550100"}, TWILIO]
    spec = merchant_spec(channels=channels, documents=[FAQ, HOURS], local_id="1", bot_id="b")
    assert await apply_specs(database, spec) == [
        "merchant shop: created",
        "channel simulator +15550100: created",
        "channel twilio +14155238886: created",
        "staff Rosa: created",
        "staff Luis: created",
        "document ¿Hacen envíos?: created",
        "document ¿Horario?: created",
        "service campaigns of shop: 4 enabled",
    ]
    assert await apply_specs(database, spec) == []
    (merchant,) = await rows(database, Merchant)
    assert (merchant.name, merchant.local_id, merchant.bot_id, merchant.timezone) == ("Shop", "1", "b", "America/Lima")
    twilio = (await rows(database, ChannelAccount))[1]
    assert twilio.credentials == {"account_sid": "AC" + "0" * 32, "auth_token": "a-secret-token"}
    assert twilio.templates == {"merchant_user_question_request": {"es": "HX1"}}
    assert "a-secret-token" not in repr(await found(database, "twilio", "+14155238886"))


async def found(database: Database, channel: str, address: str) -> Any:
    async with database.read() as session:
        return await find_account(session, channel, address)


async def test_what_the_file_no_longer_names_is_switched_off_and_on_again(database: Database) -> None:
    both = [{"kind": "simulator", "address": "+15550100"}, TWILIO]
    whole = merchant_spec(channels=both, documents=[FAQ, HOURS])
    await apply_specs(database, whole)
    less = merchant_spec(staff=[{"name": "Rosa", "phone": ROSA, "types": ["admin"]}], documents=[FAQ])
    assert await apply_specs(database, less) == [
        "channel twilio +14155238886: deactivated",
        "staff Luis: deactivated",
        "document ¿Horario?: removed",
    ]
    assert await found(database, "twilio", "+14155238886") is None
    assert [(row.name, row.active) for row in await rows(database, MerchantUser)] == [("Rosa", True), ("Luis", False)]
    async with database.read() as session:
        assert [person.name for person in await MerchantRepository(session, 1).staff()] == ["Rosa"]
    assert await apply_specs(database, less) == []

    before = [row.id for row in await rows(database, MerchantUser)]
    assert await apply_specs(database, whole) == [
        "channel twilio +14155238886: changed",
        "staff Luis: changed",
        "document ¿Horario?: created",
    ]
    assert [row.id for row in await rows(database, MerchantUser)] == before
    assert await found(database, "twilio", "+14155238886") is not None


async def test_changes_are_applied(database: Database) -> None:
    await apply_specs(database, merchant_spec(channels=[TWILIO], documents=[FAQ]))
    changed = merchant_spec(
        name="Tienda",
        channels=[{**TWILIO, "auth_token": "another-token"}],
        staff=[{"name": "Rosa María", "phone": ROSA, "types": ["admin", "sales"]}],
        documents=[{**FAQ, "content": "Ya no."}],
    )
    assert await apply_specs(database, changed) == [
        "merchant shop: changed",
        "channel twilio +14155238886: changed",
        "staff Rosa María: changed",
        "staff Luis: deactivated",
        "document ¿Hacen envíos?: changed",
    ]
    assert (await found(database, "twilio", "+14155238886")).credentials["auth_token"] == "another-token"
    (document,) = await rows(database, Document)
    assert (document.content, document.search_text) == ("Ya no.", "hacen envios ya no")


async def test_answered_questions_stay(database: Database) -> None:
    await apply_specs(database, merchant_spec(documents=[FAQ]))
    async with database.transaction() as session:
        service = DocumentService(session, 1, Clock())
        await service.learn((await service.ask("notification:1", "¿Venden hielo?")).id, "Sí")
    assert await apply_specs(database, merchant_spec(documents=[])) == ["document ¿Hacen envíos?: removed"]
    assert [(row.title, row.content) for row in await rows(database, Document)] == [("¿Venden hielo?", "Sí")]


async def test_all_or_nothing(database: Database) -> None:
    await apply_specs(database, merchant_spec("owner", "+15550100"))
    taken = [merchant_spec("good", "+15550200", documents=[FAQ]), merchant_spec("bad", "+15550100")]
    with pytest.raises(ConfigurationError, match="simulator \\+15550100 belongs to another merchant already"):
        await apply_specs(database, *taken)
    assert [row.sub_domain for row in await rows(database, Merchant)] == ["owner"]
    assert len(await rows(database, ChannelAccount)) == 1
    assert await rows(database, Document) == []


async def test_a_merchant_that_the_file_does_not_name_is_left_alone(database: Database) -> None:
    await apply_specs(database, merchant_spec("one", "+15550100", documents=[FAQ]))
    await apply_specs(database, merchant_spec("two", "+15550200"))
    assert await apply_specs(database, merchant_spec("one", "+15550100", documents=[FAQ])) == []
    assert await found(database, "simulator", "+15550200") is not None


async def test_the_same_phone_may_work_for_two_merchants(database: Database) -> None:
    await apply_specs(database, merchant_spec("one", "+15550100"), merchant_spec("two", "+15550200"))
    assert [row.merchant_id for row in await rows(database, MerchantUser) if row.phone == ROSA] == [1, 2]


async def test_applying_again_mends_a_lost_secret_key(database: Database) -> None:
    """It is the remedy that the error about the key names."""
    both = [TWILIO, {**TWILIO, "address": "+14155238887"}]
    await apply_specs(database, merchant_spec(channels=both))
    with another_secret_key():
        with pytest.raises(ConfigurationError, match="recado apply"):
            await found(database, "twilio", "+14155238886")
        assert await apply_specs(database, merchant_spec(channels=[TWILIO])) == [
            "channel twilio +14155238886: changed",
            "channel twilio +14155238887: deactivated",
        ]
        assert (await found(database, "twilio", "+14155238886")).credentials["auth_token"] == "a-secret-token"


async def test_it_creates_the_service_campaigns_and_enables_them_again(database: Database) -> None:
    await apply_specs(database, merchant_spec())
    campaigns = await rows(database, Campaign)
    assert {campaign.name for campaign in campaigns} == set(DEFAULT_CAMPAIGNS)
    assert all(campaign.enabled and campaign.campaign_type == "service" for campaign in campaigns)
    async with database.transaction() as session:
        await session.execute(update(Campaign).where(Campaign.name == SUPPORT_REQUEST).values(enabled=False))
    assert await apply_specs(database, merchant_spec()) == ["service campaigns of shop: 1 enabled"]
    assert all(campaign.enabled for campaign in await rows(database, Campaign))


async def test_patience_and_own_words_are_kept_and_change(database: Database) -> None:
    own = {"merchant_user_notification_closed": {"es": "La consulta {{notification_id}} está cerrada. ¡Gracias!"}}
    await apply_specs(database, merchant_spec(reminder_minutes=5, escalation_minutes=20, templates=own))
    (merchant,) = await rows(database, Merchant)
    assert (merchant.reminder_minutes, merchant.escalation_minutes) == (5, 20)
    assert merchant.template_texts == own
    assert await apply_specs(database, merchant_spec()) == ["merchant shop: changed"]
    (merchant,) = await rows(database, Merchant)
    assert (merchant.reminder_minutes, merchant.escalation_minutes, merchant.template_texts) == (15, 60, None)

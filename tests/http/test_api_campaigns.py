"""Campaigns and who was sent them, over the REST API."""

import asyncio
from typing import Any

from sqlalchemy import delete

from recado.campaigns.service import DEFAULT_CAMPAIGNS, CampaignService, Send
from recado.conversations.identity import Identities
from recado.conversations.repository import ConversationRepository
from recado.db.models import Campaign
from tests.builders import ANA, BETO, Shop
from tests.http.counter import CAMPAIGNS, PLATFORM_KEY, Counter

CREATE = "/campaign/create-default"
NAME = "merchant_user_question_answer"


async def campaign(counter: Counter, **more: Any) -> dict[str, Any]:
    page = await counter.ok("GET", CAMPAIGNS, **more)
    return next(item for item in page["items"] if item["name"] == NAME)


async def send(shop: Shop, *phones: str) -> list[int]:
    """Send the campaign to these people; their conversations."""
    async with shop.database.transaction() as session:
        repository = ConversationRepository(session, shop.merchant_id)
        recipients = []
        for phone in phones:
            conversation, contact, merchant = await repository.get(await shop_conversation(repository, phone))
            recipients.append((contact, conversation))
        values = {"lead_name": "Ana", "answer": "sí"}
        service = CampaignService(session, shop.merchant_id, shop.clock)
        await service.send_service_campaign_messages(NAME, merchant, recipients, Send("test", values))
        return [conversation.id for _, conversation in recipients]


async def shop_conversation(repository: ConversationRepository, phone: str) -> int:
    known = await Identities(repository.session, repository.merchant_id).find("simulator", phone, phone)
    assert known is not None
    return known.conversation.id


async def forget(counter: Counter) -> None:
    """As for a merchant that was never applied: it has no campaigns."""
    async with counter.services.database.transaction() as session:
        await session.execute(delete(Campaign))


async def test_the_service_campaigns_are_created_enabled_and_only_once(counter: Counter) -> None:
    await forget(counter)
    created = await counter.ok("POST", CREATE)
    assert sorted(item["name"] for item in created) == sorted(DEFAULT_CAMPAIGNS)
    assert {(item["campaign_type"], item["enabled"]) for item in created} == {("service", True)}
    assert await counter.ok("POST", CREATE) == created
    page = await counter.ok("GET", CAMPAIGNS)
    assert (page["items"], page["total"]) == (created, 4)
    await counter.ok("POST", CREATE, key=PLATFORM_KEY, params={"sub_domain": "other"})
    assert await counter.count(Campaign) == 8


async def test_creating_them_while_another_request_does_finds_them(counter: Counter) -> None:
    await forget(counter)
    async with counter.services.database.transaction() as session:
        await CampaignService(session, counter.mine.merchant_id, counter.mine.clock).create_default()
        request = asyncio.create_task(counter.ok("POST", CREATE))
        await counter.until_it_waits_for_a_lock()
    assert sorted(item["name"] for item in await request) == sorted(DEFAULT_CAMPAIGNS)
    assert await counter.count(Campaign) == 4


async def test_a_campaign_is_disabled_and_enabled(counter: Counter) -> None:
    await counter.ok("POST", CREATE)
    path = f"{CAMPAIGNS}/{(await campaign(counter))['id']}"
    assert (await counter.ok("PATCH", path, json={"enabled": False}))["enabled"] is False
    assert (await campaign(counter))["enabled"] is False
    assert (await counter.ok("PATCH", path, json={"enabled": True}))["enabled"] is True
    await counter.ok("PATCH", path, json={"enabled": False})
    await counter.ok("POST", CREATE)  # enables what is there
    assert (await campaign(counter))["enabled"] is True
    for wrong in ({}, {"enabled": None}, {"enabled": 7}, {"enabled": True, "name": "x"}):
        await counter.refused(422, "PATCH", path, json=wrong)


async def test_leads_show_what_was_said_and_how_far_it_came(counter: Counter) -> None:
    await counter.ok("POST", CREATE)
    path = f"{CAMPAIGNS}/{(await campaign(counter))['id']}/leads"
    assert (await counter.ok("GET", path))["total"] == 0
    for phone in (ANA, BETO):
        await counter.mine.hear("hola", phone)
    conversations = await send(counter.mine, ANA, BETO)
    page = await counter.ok("GET", path)
    assert ([item["conversation_id"] for item in page["items"]], page["total"]) == (conversations[::-1], 2)
    lead = page["items"][1]
    assert (lead["phone"], lead["name"], lead["delivery_state"]) == (ANA, "Ana", "pending")
    assert lead["variables"] == {"lead_name": "Ana", "answer": "sí"}
    (message,) = await counter.mine.messages(conversations[0], "response")
    assert (lead["message_id"], lead["text"]) == (message.id, message.text)
    paged = await counter.ok("GET", path, params={"page_size": 1, "page": 2})
    assert (paged["items"], paged["total"]) == ([lead], 2)
    async with counter.queries() as run:
        await counter.ok("GET", path)
    assert len(run) == 3  # the key, the count, the page


async def test_another_merchants_campaign_does_not_exist(counter: Counter) -> None:
    theirs_key = await counter.make_key(counter.theirs)
    await counter.ok("POST", CREATE, key=theirs_key)
    theirs = (await campaign(counter, key=theirs_key))["id"]
    assert theirs not in [item["id"] for item in (await counter.ok("GET", CAMPAIGNS))["items"]]
    await counter.refused(404, "PATCH", f"{CAMPAIGNS}/{theirs}", json={"enabled": False})
    await counter.refused(404, "GET", f"{CAMPAIGNS}/{theirs}/leads")
    await counter.theirs.hear("hola")
    await send(counter.theirs, ANA)
    await counter.refused(404, "GET", f"{CAMPAIGNS}/{theirs}/leads")
    assert (await campaign(counter, key=theirs_key))["enabled"] is True

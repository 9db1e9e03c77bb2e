"""A number of two merchants as providers see it: one address, whose posts are taken and signed like any other's."""

from typing import Any

from sqlalchemy import select

from recado.db.engine import Database
from recado.db.models import InboxEvent
from tests.builders import ANA, ROSA, apply_specs, merchant_spec
from tests.fakes.twilio_inbound import ACCOUNT_SID, AUTH_TOKEN, inbound_form, sign
from tests.http.counter import open_counter
from tests.turns.shared_desk import sharing

SHARED = "+15550300"
STAFF = [{"name": "Rosa", "phone": ROSA, "types": ["admin"]}]


async def events(database: Database) -> list[tuple[str, str]]:
    async with database.read() as session:
        return [tuple(row) for row in await session.execute(select(InboxEvent.channel, InboxEvent.address))]


async def test_the_simulator_shows_one_number_and_takes_what_is_sent_to_it(database: Database) -> None:
    await apply_specs(database, sharing("uno", SHARED, staff=STAFF), sharing("dos", SHARED))
    async with open_counter(database) as counter:
        shown = (await counter.client.get("/simulator/people")).json()
        accounts = [(each["address"], each["merchant"]) for each in shown["merchant_accounts"]]
        assert accounts == [(SHARED, "Uno · Dos"), ("+15550100", "Shop"), ("+15550200", "Other")]
        assert {"phone": ROSA, "merchant": "Uno"}.items() <= shown["people"][2].items()
        sent = await counter.client.post("/simulator/messages", json={"from": ANA, "to": SHARED, "text": "hola"})
        assert sent.status_code == 202
    assert await events(database) == [("simulator", SHARED)]


async def test_twilio_signs_for_a_shared_number_with_the_token_of_both(database: Database) -> None:
    channel: dict[str, Any] = {"kind": "twilio", "address": SHARED, "account_sid": ACCOUNT_SID, "shared": True}
    specs = [merchant_spec(name, channels=[{**channel, "auth_token": AUTH_TOKEN}]) for name in ("uno", "dos")]
    await apply_specs(database, *specs)
    async with open_counter(database, public_base_url="https://recado.example") as counter:
        form = inbound_form(from_=ANA, to=SHARED, body="hola")
        for token, status in (("wrong-token", 403), (AUTH_TOKEN, 200)):
            signature = sign("https://recado.example/webhooks/twilio", form, token)
            headers = {"X-Twilio-Signature": signature}
            answer = await counter.client.post("/webhooks/twilio", data=form, headers=headers)
            assert answer.status_code == status
    assert await events(database) == [("twilio", SHARED)]

"""One number, many merchants: each of them says so, with the same credentials, in one file or in several."""

from typing import Any

import pytest
from sqlalchemy import select

from recado.db.engine import Database
from recado.db.models import ChannelAccount
from recado.entrypoints.doctor_shared import shared_addresses
from recado.errors import ConfigurationError
from recado.merchants.repository import accounts_at, find_account
from recado.merchants.schemas import MerchantsFile
from recado.settings import Settings
from tests.builders import another_secret_key, apply_specs, merchant_spec
from tests.turns.shared_desk import NUMBER, sharing

TWILIO = {"kind": "twilio", "address": NUMBER, "account_sid": "AC" + "0" * 32, "auth_token": "a-secret-token"}
OTHER_TOKEN = {**TWILIO, "auth_token": "another-token"}
TAKEN = r"simulator \+15550100 belongs to another merchant already"


async def owners(database: Database, channel: str = "simulator", address: str = NUMBER) -> list[int]:
    async with database.read() as session:
        return [account.merchant_id for account in await accounts_at(session, channel, address)]


def by_twilio(sub_domain: str, channel: dict[str, Any] = TWILIO, *, shared: bool = True) -> dict[str, Any]:
    return merchant_spec(sub_domain, channels=[{**channel, "shared": shared}])


async def test_in_one_file_or_in_several(database: Database) -> None:
    await apply_specs(database, sharing("uno"), sharing("dos"))
    lines = await apply_specs(database, sharing("tres"))
    assert f"channel simulator {NUMBER}: created" in lines
    assert await apply_specs(database, sharing("dos"), sharing("tres")) == []
    assert await owners(database) == [1, 2, 3]
    async with database.read() as session:
        oldest = await find_account(session, "simulator", NUMBER)
    assert oldest is not None
    assert oldest.merchant_id == 1


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
async def test_each_of_them_must_say_so(database: Database, first: bool, second: bool) -> None:
    async def spec(name: str, shared: bool) -> dict[str, Any]:
        return sharing(name) if shared else merchant_spec(name, NUMBER)

    with pytest.raises(ValueError, match="the same channel stands here twice"):
        MerchantsFile.model_validate({"merchants": [await spec("a", first), await spec("b", second)]}, context=None)
    await apply_specs(database, await spec("a", first))
    with pytest.raises(ConfigurationError, match=TAKEN):
        await apply_specs(database, await spec("b", second))
    assert await owners(database) == [1]


async def test_who_shares_cannot_stop_saying_so_while_the_other_is_there(database: Database) -> None:
    await apply_specs(database, sharing("uno"), sharing("dos"))
    with pytest.raises(ConfigurationError, match="`shared: true`"):
        await apply_specs(database, merchant_spec("uno", NUMBER))
    await apply_specs(database, merchant_spec("dos", "+15550200"))
    assert await apply_specs(database, merchant_spec("uno", NUMBER, staff=[])) == [
        f"channel simulator {NUMBER}: changed"
    ]
    with pytest.raises(ConfigurationError, match=TAKEN):
        await apply_specs(database, sharing("dos"))


@pytest.mark.parametrize("turn", [1, -1])
async def test_one_file_may_begin_to_share_or_hand_over_in_any_order(database: Database, turn: int) -> None:
    await apply_specs(database, merchant_spec("uno", NUMBER))
    await apply_specs(database, *[sharing("uno"), sharing("dos")][::turn])
    assert sorted(await owners(database)) == [1, 2]
    alone = [merchant_spec("uno", "+15550200"), merchant_spec("dos", NUMBER)]
    await apply_specs(database, *alone[::turn])
    assert await owners(database) == [2]


async def test_one_merchant_names_a_channel_once(database: Database) -> None:
    twice = sharing("uno")
    twice["channels"] = twice["channels"] * 2
    with pytest.raises(ValueError, match="the same channel of uno stands here twice"):
        await apply_specs(database, twice)


async def test_each_keeps_its_own_templates(database: Database) -> None:
    names = ("uno", "dos")
    await apply_specs(database, *(by_twilio(name, {**TWILIO, "templates": {"t": name}}) for name in names))
    async with database.read() as session:
        accounts = await accounts_at(session, "twilio", NUMBER)
    assert [account.templates for account in accounts] == [{"t": "uno"}, {"t": "dos"}]


async def test_credentials_must_be_the_same(database: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"twilio \+15550100 is shared with other credentials") as refused:
        await apply_specs(database, by_twilio("uno"), by_twilio("dos", OTHER_TOKEN))
    assert "token" not in str(refused.value)
    await apply_specs(database, by_twilio("uno"), by_twilio("dos"))
    with pytest.raises(ConfigurationError, match="in one file"):
        await apply_specs(database, by_twilio("dos", OTHER_TOKEN))
    await apply_specs(database, by_twilio("uno", OTHER_TOKEN), by_twilio("dos", OTHER_TOKEN))
    async with database.read() as session:
        found = list(await session.scalars(select(ChannelAccount.credentials)))
    assert [one["auth_token"] for one in found] == ["another-token"] * 2


async def test_applying_again_mends_a_lost_secret_key_of_a_shared_number(database: Database) -> None:
    await apply_specs(database, by_twilio("uno"), by_twilio("dos"))
    with another_secret_key():
        for name in ("uno", "dos"):
            assert await apply_specs(database, by_twilio(name)) == [f"channel twilio {NUMBER}: changed"]
        assert await owners(database, "twilio") == [1, 2]


@pytest.mark.parametrize(
    ("settings", "ok", "says"),
    [
        ({}, False, ("lookups are off", "set CARTAAI_SUBDOMAIN")),
        ({"cartaai_subdomain": "dos"}, True, ("lookups are off", "default merchant is dos")),
        ({"use_cartaai_api": True}, True, ("lookups are on", "set CARTAAI_SUBDOMAIN")),
        ({"enable_conversation_sync": True, "cartaai_subdomain": "dos"}, True, ("lookups are on", "merchant is dos")),
        ({"cartaai_subdomain": "away"}, False, ("CARTAAI_SUBDOMAIN=away has no account here",)),
    ],
)
def test_the_doctor_tells_of_shared_numbers(settings: dict[str, Any], ok: bool, says: tuple[str, ...]) -> None:
    places = {1: NUMBER, 2: NUMBER, 3: "+15550200"}
    accounts = [ChannelAccount(merchant_id=n, channel="simulator", address=place) for n, place in places.items()]
    names = {1: "uno", 2: "dos", 3: "away"}
    (finding,) = shared_addresses(Settings(_env_file=None, **settings), accounts, names)
    assert (finding.part, finding.ok) == (f"simulator {NUMBER}", ok)
    assert finding.text.startswith("shared by dos, uno; ")
    assert all(part in finding.text for part in says)

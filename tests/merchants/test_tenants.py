"""The lookup of tenants: an hour's memory, a minute for misses, none for failures, and one question at a time."""

import asyncio

import pytest

from recado.errors import SyncUnavailable
from recado.merchants.tenants import PHONES, TenantLookup
from tests.builders import ANA, BETO, SetClock, together
from tests.turns.shared_desk import Api


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def tenants(api: Api, clock: SetClock) -> TenantLookup:
    return TenantLookup(api.ask, clock)


async def test_who_is_known_is_asked_for_once_an_hour(api: Api, clock: SetClock, tenants: TenantLookup) -> None:
    api.knows[ANA] = "uno"
    assert await tenants.sub_domain_of(ANA) == "uno"
    api.knows[ANA] = "dos"
    clock.forward(seconds=3_599)
    assert await tenants.sub_domain_of(ANA) == "uno"
    assert api.asked == [ANA]
    clock.forward(seconds=1)
    assert await tenants.sub_domain_of(ANA) == "dos"
    assert api.asked == [ANA, ANA]


async def test_who_is_unknown_is_asked_for_once_a_minute(api: Api, clock: SetClock, tenants: TenantLookup) -> None:
    assert await tenants.sub_domain_of(ANA) is None
    api.knows[ANA] = "uno"
    clock.forward(seconds=59)
    assert await tenants.sub_domain_of(ANA) is None
    assert api.asked == [ANA]
    clock.forward(seconds=1)
    assert await tenants.sub_domain_of(ANA) == "uno"


async def test_a_failure_is_not_remembered(api: Api, tenants: TenantLookup) -> None:
    api.down = True
    for _ in range(2):
        with pytest.raises(SyncUnavailable):
            await tenants.sub_domain_of(ANA)
    api.down, api.knows[ANA] = False, "uno"
    assert await tenants.sub_domain_of(ANA) == "uno"
    assert api.asked == [ANA] * 3


async def test_one_question_at_a_time_for_each_phone(api: Api, tenants: TenantLookup) -> None:
    api.knows |= {ANA: "uno", BETO: "dos"}
    api.gate = asyncio.Event()
    asking = [asyncio.create_task(tenants.sub_domain_of(phone)) for phone in [ANA, BETO] * 20]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(api.asked) == [ANA, BETO]
    api.gate.set()
    assert await asyncio.gather(*asking) == ["uno", "dos"] * 20
    assert len(api.asked) == 2


async def test_a_failure_is_told_to_all_who_wait_for_it(api: Api, tenants: TenantLookup) -> None:
    api.down = True
    failed = await together(*(tenants.sub_domain_of(ANA) for _ in range(5)))
    assert [type(error) for error in failed] == [SyncUnavailable] * 5
    assert len(api.asked) == 1


async def test_one_who_asked_first_and_gives_up_takes_the_answer_from_nobody(api: Api, tenants: TenantLookup) -> None:
    api.knows[ANA], api.gate = "uno", asyncio.Event()
    first, second = (asyncio.create_task(tenants.sub_domain_of(ANA)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert isinstance((await together(first))[0], asyncio.CancelledError)
    third = asyncio.create_task(tenants.sub_domain_of(ANA))
    await asyncio.sleep(0.01)
    api.gate.set()
    assert await asyncio.gather(second, third) == ["uno", "uno"]
    assert await tenants.sub_domain_of(ANA) == "uno"
    assert api.asked == [ANA]


async def test_an_answer_that_nobody_waits_for_any_more_is_kept(api: Api, tenants: TenantLookup) -> None:
    api.knows[ANA], api.gate = "uno", asyncio.Event()
    only = asyncio.create_task(tenants.sub_domain_of(ANA))
    await asyncio.sleep(0.01)
    only.cancel()
    await together(only)
    api.gate.set()
    await asyncio.sleep(0.01)
    assert await tenants.sub_domain_of(ANA) == "uno"
    assert api.asked == [ANA]


async def test_a_failure_that_nobody_waits_for_any_more_is_no_accident(api: Api, tenants: TenantLookup) -> None:
    accidents: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: accidents.append(context))
    api.down, api.gate = True, asyncio.Event()
    only = asyncio.create_task(tenants.sub_domain_of(ANA))
    await asyncio.sleep(0.01)
    only.cancel()
    await together(only)
    api.gate.set()
    await asyncio.sleep(0.01)
    api.down, api.gate, api.knows[ANA] = False, None, "uno"
    assert await tenants.sub_domain_of(ANA) == "uno"
    assert accidents == []


async def test_a_thousand_phones_are_remembered(api: Api, tenants: TenantLookup) -> None:
    phones = [f"+5190000{number:04}" for number in range(PHONES + 1)]
    api.knows |= dict.fromkeys(phones, "uno")
    for phone in phones:
        await tenants.sub_domain_of(phone)
    api.asked.clear()
    assert await tenants.sub_domain_of(phones[-1]) == "uno"
    assert api.asked == []
    await tenants.sub_domain_of(phones[0])
    assert api.asked == [phones[0]]

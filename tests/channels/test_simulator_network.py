"""The simulator's network is a provider of our own: it must not send twice, nor go backwards."""

import asyncio

import pytest

from recado.channels.base import InboundMessage, OutboundMessage, RawEvent, StatusUpdate
from recado.channels.simulator.channel import SimulatorChannel, SimulatorNetwork, describe
from recado.clock import Clock
from recado.db.engine import Database
from tests.builders import ANA
from tests.channels.parties import SHOP, account


def text(said: str, delivery_id: int = 7) -> OutboundMessage:
    return OutboundMessage(delivery_id, ANA, text=said)


@pytest.fixture
def network(database: Database) -> SimulatorNetwork:
    return SimulatorNetwork(database, Clock())


async def test_the_network_takes_a_message_and_a_delivery_once(network: SimulatorNetwork) -> None:
    reported: list[RawEvent] = []

    async def report(events: list[RawEvent]) -> None:
        reported.extend(events)

    network.report = report
    channel, shop = SimulatorChannel(network), account("simulator")
    sent = {"client_reference": "m1", "address": SHOP, "phone": ANA, "text": "hola"}
    await asyncio.gather(*(network.person_sends(sent) for _ in range(5)))
    ids = await asyncio.gather(*(channel.send(shop, text("sí")) for _ in range(5)))
    assert len(set(ids)) == 1
    assert [(row.direction, row.text) for row in await network.messages(ANA)] == [("in", "hola"), ("out", "sí")]
    # each report of the same thing has the same id: the inbox keeps the first
    assert {(event.address, event.provider_event_id) for event in reported} == {
        (SHOP, "m1"),
        (SHOP, f"{ids[0]}:delivered"),
    }
    assert isinstance(channel.parse(reported[0].payload), InboundMessage)
    assert channel.parse(reported[-1].payload) == StatusUpdate(ids[0], "delivered", 7)


async def test_the_networks_statuses_only_move_forward_and_are_told(network: SimulatorNetwork) -> None:
    message_id = await SimulatorChannel(network).send(account("simulator"), text("sí"))
    async with network.watch(ANA) as notices:
        await network.person_reads(ANA, SHOP)
        await network.mark([message_id], SHOP, "delivered")
        await network.person_reads(ANA, SHOP)
    (row,) = await network.messages(ANA)
    assert row.status == "read"
    assert notices.get_nowait() == ("message", describe(row))
    assert notices.empty()


async def test_the_networks_clock_survives_a_restart(database: Database, network: SimulatorNetwork) -> None:
    await network.advance_clock(3_600)
    await network.advance_clock(3_600)
    clock = Clock()
    await SimulatorNetwork(database, clock).load_clock()
    assert clock.offset.total_seconds() == 7_200

"""The simulated network: what a phone shows."""

from recado.campaigns import templates
from recado.channels.base import OutboundMessage
from recado.channels.simulator.channel import SimulatorNetwork, describe
from recado.db.engine import Database
from tests.builders import ANA, TEMPLATE, SetClock


async def test_the_buttons_of_a_template_can_be_tapped(database: Database) -> None:
    network = SimulatorNetwork(database, SetClock())
    ready = templates.fill(templates.ANSWER_READY, "es", {"lead_name": "Ana"})
    shown = describe(await network.deliver("+15550100", OutboundMessage(1, ANA, template=ready)))
    assert (shown["kind"], shown["text"]) == ("template", ready.text)
    assert shown["buttons"] == [{"id": "show_answer", "title": "Ver respuesta"}]
    assert "buttons" not in describe(await network.deliver("+15550100", OutboundMessage(2, ANA, template=TEMPLATE)))


async def test_the_buttons_of_a_text_too(database: Database) -> None:
    network = SimulatorNetwork(database, SetClock())
    buttons = ({"id": "answer", "title": "Responder"},)
    shown = describe(await network.deliver("+15550100", OutboundMessage(1, ANA, text="Consulta", buttons=buttons)))
    assert (shown["kind"], shown["buttons"]) == ("interactive", list(buttons))

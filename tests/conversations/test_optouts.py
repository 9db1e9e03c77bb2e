"""Who wants no messages says so in a word, is told once, gets no answers, and comes back with another word."""

from datetime import timedelta

import pytest

from recado.conversations import notices
from recado.conversations.optouts import START_WORDS, STOP_WORDS, is_start, is_stop
from recado.db.engine import Database
from recado.db.models import Message
from tests.builders import ANA, BETO, ROSA, make_shop
from tests.turns.inbox import Inbox

OUT, BACK = notices.TEXTS[notices.OPTED_OUT], notices.TEXTS[notices.OPTED_IN]


@pytest.fixture
async def inbox(database: Database) -> Inbox:
    return Inbox(await make_shop(database))


def handled(message: Message) -> str | None:
    return message.other_data.get("handled")


STOPS = [
    "STOP",
    "stop",
    " Stop. ",
    "STOP!!! 🛑",
    "stop stop",
    "Alto",
    "PARAR",
    "pare",
    "Arrêt",
    "ARRET",
    "¡Baja!",
    "sair",
]
STOPS += ["unsubscribe", "Desuscribir", "darme de baja", "Désabonner"]
ORDINARY = [
    "",
    "🛑",
    "cancelar",
    "Quiero cancelar mi pedido",
    "fin",
    "no",
    "no stop",
    "stop, pero mañana",
    "quit",
    "end",
]
ORDINARY += ["¿Paran los domingos?", "un stop para bicicleta", "la talla baja", "cancel", "stop " * 100]


@pytest.mark.parametrize("text", STOPS)
def test_a_word_that_is_all_of_a_message_stops(text: str) -> None:
    assert is_stop(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_what_a_customer_may_mean_does_not(text: str) -> None:
    assert not is_stop(text)


def test_no_word_says_both() -> None:
    assert not STOP_WORDS & START_WORDS
    assert all(is_stop(word.upper()) and not is_start(word) for word in STOP_WORDS)
    assert all(is_start(word.title()) and not is_stop(word) for word in START_WORDS)


async def test_who_stops_is_told_once_and_answered_no_more(inbox: Inbox) -> None:
    await inbox.write("¿Qué horario tienen ustedes?")
    stop = await inbox.write("STOP")
    assert handled(stop) == "opt_out"
    (contact,) = await inbox.contacts()
    assert (contact.opt_out, contact.opt_out_at) == ("all", inbox.shop.clock.now())
    assert await inbox.said() == [OUT["es"]]
    (said,) = await inbox.shop.messages(stop.conversation_id, "response")
    assert said.other_data == {"opt_out": "confirmation"}
    assert await inbox.nudged("deliver", stop.conversation_id)
    assert handled(await inbox.write("Stop!")) == "opt_out"
    assert handled(await inbox.write("¿Hola?")) == "opted_out"
    assert handled(await inbox.write("👍", kind="reaction")) == "opted_out"
    assert await inbox.said() == [OUT["es"]]
    assert inbox.alerts.sent == []


async def test_who_comes_back_is_told_and_answered(inbox: Inbox) -> None:
    await inbox.write("STOP")
    assert handled(await inbox.write("INICIAR")) == "opt_in"
    assert (await inbox.contacts())[0].opt_out is None
    assert handled(await inbox.write("¿Hola?")) is None
    assert await inbox.said() == [OUT["es"], BACK["es"]]
    await inbox.write("alto")
    assert await inbox.said() == [OUT["es"], BACK["es"], OUT["es"]]


async def test_the_word_that_brings_back_is_an_ordinary_one_otherwise(inbox: Inbox) -> None:
    assert handled(await inbox.write("Start")) is None
    assert await inbox.said() == []


@pytest.mark.parametrize("language", ["en", "pt", "fr"])
async def test_it_is_confirmed_in_the_persons_language(database: Database, language: str) -> None:
    inbox = Inbox(await make_shop(database, language=language))
    await inbox.write("STOP")
    await inbox.write("START")
    assert await inbox.said() == [OUT[language], BACK[language]]


async def test_the_providers_own_opt_out_is_recorded_and_not_answered_twice(inbox: Inbox) -> None:
    assert handled(await inbox.write("BASTA YA", opt_out="stop")) == "opt_out"
    assert (await inbox.contacts())[0].opt_out == "all"
    assert handled(await inbox.write("VOLVER", opt_out="start")) == "opt_in"
    assert (await inbox.contacts())[0].opt_out is None
    assert handled(await inbox.write("START", opt_out="start")) == "opt_in"
    assert await inbox.said() == []


async def test_only_the_person_themselves_stops(database: Database, inbox: Inbox) -> None:
    other = Inbox(await make_shop(database, "other", "+15550200"))
    await other.write("hola")
    await inbox.write("hola", BETO)
    await inbox.write("STOP")
    assert [(one.channel_user_id, one.opt_out) for one in await inbox.contacts()] == [(BETO, None), (ANA, "all")]
    assert [one.opt_out for one in await other.contacts()] == [None]
    assert handled(await inbox.write("hola", BETO)) is None


async def test_staff_who_stop_are_told_of_and_come_back(inbox: Inbox) -> None:
    await inbox.write("STOP", ROSA)
    ((title, reason, context),) = inbox.alerts.sent
    assert (title, context["merchant_user_id"]) == ("staff_opted_out", await inbox.member(ROSA))
    assert "START" in reason
    assert ROSA not in reason + str(context)
    await inbox.write("START", ROSA)
    assert len(inbox.alerts.sent) == 1


async def test_who_was_here_twice_stops_in_both_places(inbox: Inbox) -> None:
    """What was asked in the old conversation is answered there, so it has to stop there too."""
    await inbox.write("hola")
    await inbox.write("hola", "PE.1", None)
    await inbox.write("hola", "PE.1", ANA)
    await inbox.write("STOP", "PE.1", None)
    assert [one.opt_out for one in await inbox.contacts()] == ["all", "all"]
    await inbox.write("START", "PE.1", None)
    assert [one.opt_out for one in await inbox.contacts()] == [None, None]


async def test_who_stopped_under_their_number_has_stopped(inbox: Inbox) -> None:
    await inbox.write("STOP")
    await inbox.write("hola", "PE.1", None)
    assert handled(await inbox.write("hola", "PE.1", ANA)) == "opted_out"
    assert (await inbox.contacts())[1].opt_out == "all"


async def test_a_word_that_comes_days_late_is_recorded_in_silence(inbox: Inbox) -> None:
    now = inbox.shop.clock.now()
    assert handled(await inbox.write("STOP", sent_at=now - timedelta(days=2))) == "opt_out"
    assert (await inbox.contacts())[0].opt_out == "all"
    assert await inbox.said() == []


async def test_a_word_that_was_overtaken_changes_nothing(inbox: Inbox) -> None:
    stopped = inbox.shop.clock.now()
    await inbox.write("STOP", sent_at=stopped)
    inbox.shop.clock.forward(hours=20)
    await inbox.write("START")
    late = await inbox.write("STOP", sent_at=stopped + timedelta(hours=1))
    assert (handled(late), (await inbox.contacts())[0].opt_out) == ("opt_out", None)


async def test_a_message_that_is_changed_into_stop_is_one(inbox: Inbox) -> None:
    await inbox.write("hola", message_id="m1")
    assert handled(await inbox.write("STOP", kind="edit", about_provider_message_id="m1")) == "opt_out"

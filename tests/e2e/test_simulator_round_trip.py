"""The main thing, over the simulator with the demo model: nothing but HTTP from outside."""

from collections.abc import Callable

import pytest

from tests.e2e.world import ALL_SHOPS, Phone, Shop, until
from tests.support import WEB, RecadoServer

Talk = Callable[[int], "Talkers"]


class Talkers:
    """The people around one shop, each on their phone."""

    def __init__(self, server: RecadoServer, shop: Shop) -> None:
        self.url, self.shop = server.url, shop
        self.ana = Phone(server, shop.customer(1), shop.simulator, "Ana")
        self.ben = Phone(server, shop.customer(2), shop.simulator, "Ben")
        self.rosa = Phone(server, shop.rosa, shop.simulator)
        self.luis = Phone(server, shop.luis, shop.simulator)

    def ask(self, phone: Phone, question: str, count: int = 1) -> str:
        """A question that nobody knows the answer of; the id that Rosa's phone shows for it."""
        phone.says(question)
        request = self.rosa.hears("NOTIF_", question, count=count)
        return "NOTIF_" + request["text"].split("NOTIF_")[1].split(" ")[0]


@pytest.fixture
def talk(demo: RecadoServer) -> Talk:
    return lambda number: Talkers(demo, ALL_SHOPS[number])


def test_a_document_answers(talk: Talk) -> None:
    ana = talk(0).ana
    asked = ana.says("¿Hacen envíos?")
    reply = ana.hears("Sí, a todo Lima en 24 horas.")
    assert (reply["kind"], reply["from"], reply["to"]) == ("text", ana.shop, ana.number)
    until(lambda: {m["id"]: m["status"] for m in ana.messages()}[asked] == "read", "the question marked as read")
    assert len(ana.messages()) == 2


def test_the_round_trip(talk: Talk) -> None:
    people = talk(1)
    question = "¿Tienen panetón sin gluten?"
    people.ana.says(question)
    waiting = people.ana.hears("equipo")
    for member in (people.rosa, people.luis):
        request = member.hears("NOTIF_1", question, people.ana.number)
        assert request["kind"] == "template"
        assert request["template"]["name"] == "merchant_user_question_request"
        assert request["template"]["variables"]["question"] == question
        assert "id" in request

    request = people.rosa.heard()[0]
    people.rosa.says("Sí, llega el viernes.", reply_to=request["id"])
    reply = people.ana.hears("Sí, llega el viernes.", count=2)
    assert reply["kind"] == "text"
    assert "equipo" in reply["text"]
    assert [message["id"] for message in people.ana.heard()] == [waiting["id"], reply["id"]]
    people.rosa.hears("Gracias", count=2)
    closing = people.luis.hears("NOTIF_1", "cerrada", count=2)
    assert closing["kind"] == "template"

    people.ben.says("Una pregunta: ¿el panetón sin gluten lo tienen?")
    assert people.ben.hears("Sí, llega el viernes.")["kind"] == "text"
    assert len(people.ben.heard()) == 1
    assert len(people.rosa.heard()) == 2
    assert len(people.luis.heard()) == 2


def test_a_late_answer_is_told_that_it_is_closed(talk: Talk) -> None:
    people = talk(2)
    notification = people.ask(people.ana, "¿Venden velas aromáticas?")
    request = people.luis.hears(notification)
    people.rosa.says("Sí, de lavanda.", reply_to=people.rosa.heard()[0]["id"])
    people.ana.hears("Sí, de lavanda.")
    people.luis.hears("cerrada", count=2)
    people.luis.says("No, ya no.", reply_to=request["id"])
    people.luis.hears("ya fue respondida", count=3)
    assert not [message for message in people.ana.heard() if "ya no" in message["text"]]


def test_naming_the_notification_answers_it(talk: Talk) -> None:
    people = talk(3)
    first = people.ask(people.ana, "¿Venden harina de coco?")
    second = people.ask(people.ben, "¿Reparan licuadoras viejas?", count=2)
    assert first != second
    people.rosa.says(f"{second}: No reparamos nada")
    people.ben.hears("No reparamos nada", count=2)
    people.rosa.says(f"para {first.lower().replace('_', ' ')} sí vendemos")
    people.ana.hears("sí vendemos", count=2)


def test_just_writing_answers_the_only_open_one(talk: Talk) -> None:
    people = talk(4)
    people.ask(people.ana, "¿Abren en Navidad?")
    people.rosa.says("Ese día cerramos temprano")
    people.ana.hears("Ese día cerramos temprano", count=2)
    people.rosa.says("Otra cosa que digo")
    people.rosa.hears("No hay consultas pendientes", count=3)
    assert len(people.ana.heard()) == 2


def test_an_ambiguous_answer_is_asked_about(talk: Talk) -> None:
    people = talk(5)
    first = people.ask(people.ana, "¿Venden quinua roja?")
    second = people.ask(people.ben, "¿Alquilan toldos?", count=2)
    people.rosa.says("Sí, hay bastante")
    people.rosa.hears("¿A cuál", first, second, count=3)
    assert len(people.ana.heard()) == len(people.ben.heard()) == 1
    people.rosa.says(first)
    people.ana.hears("Sí, hay bastante", count=2)
    assert len(people.ben.heard()) == 1
    people.luis.hears(first, "cerrada", count=3)


@pytest.mark.parametrize(
    ("number", "question", "waiting", "answer"),
    [
        (6, "Do you have gluten free panettone in the store?", "I am asking the team", "The team tells me: 40 soles"),
        (7, "Vocês têm panetone sem glúten na loja?", "Vou perguntar à equipe", "A equipe me confirma: 40 soles"),
    ],
)
def test_customers_get_their_language(talk: Talk, number: int, question: str, waiting: str, answer: str) -> None:
    people = talk(number)
    people.ask(people.ana, question)
    people.ana.hears(waiting)
    people.rosa.says("40 soles", reply_to=people.rosa.heard()[0]["id"])
    people.ana.hears(answer, count=2)


def test_outside_the_window_the_answer_is_a_template(talk: Talk) -> None:
    people = talk(8)
    people.ask(people.ana, "Do you sell candles in the shop?")
    people.ana.hears("I am asking the team")
    before = WEB.get(f"{people.url}/simulator/clock").json()["offset_seconds"]
    moved = WEB.post(f"{people.url}/simulator/clock", json={"advance_seconds": 25 * 3600}).json()
    assert moved["offset_seconds"] == before + 25 * 3600
    people.rosa.says("Yes, three kinds.")
    reply = people.ana.hears("Yes, three kinds", count=2)
    assert reply["kind"] == "template"
    assert reply["template"]["name"] == "merchant_user_question_answer"
    assert reply["template"]["language"] == "en"
    assert reply["template"]["variables"]["lead_name"] == "Ana"
    assert "three kinds" in reply["template"]["variables"]["answer"]
    people.ana.says("Thank you very much")
    assert people.ana.hears("You are welcome", count=3)["kind"] == "text"

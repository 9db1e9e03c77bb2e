"""The round trip on Twilio's wire: signed posts in, REST calls out, each looked at field by field."""

import base64
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, Shop, World, answer, ask, query, until, when

QUESTION = "¿Tienen panetón sin gluten?"
WAITING = "¡Buena pregunta! Le pregunto al equipo."
BASICS = {"To", "From", "StatusCallback"}


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    return start_world()


def request_of(world: World, shop: Shop, member: str) -> tuple[str, str]:
    """The id that a member of the staff was shown, and the SID of the message that showed it."""
    form = world.gets(member)[0]
    notification = json.loads(form["ContentVariables"])["1"]
    sid = next(message.sid for message in world.twilio.messages.values() if message.form == form)
    return notification, sid


def asked(world: World, shop: Shop, question: str, language: str = "es") -> tuple[str, str]:
    """Ana has asked, and the staff has been; the notification's id and the SID of Rosa's message."""
    world.openai.apply_script([when(question, ask(question, language), tool="request_notification")])
    world.inbound(shop, shop.customer(1), question)
    world.gets(shop.customer(1))
    return request_of(world, shop, shop.rosa)


def check_basics(world: World, shop: Shop, entry: dict[str, Any], number: str, delivery: int) -> None:
    form, headers = entry["body"], entry["headers"]
    assert entry["path"] == f"/2010-04-01/Accounts/{shop.account_sid}/Messages.json"
    login = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
    assert login == f"{shop.account_sid}:{shop.auth_token}"
    assert form["To"] == f"whatsapp:{number}"
    assert form["From"] == f"whatsapp:{shop.twilio}"
    assert form["StatusCallback"] == f"{world.server.url}/webhooks/twilio/status?delivery={delivery}"


def check_template(world: World, shop: Shop, number: str, name: str, variables: dict[str, str]) -> None:
    entry = world.sends(number)[-1]
    check_basics(world, shop, entry, number, world.deliveries(number)[-1]["id"])
    assert set(entry["body"]) == BASICS | {"ContentSid", "ContentVariables"}
    assert entry["body"]["ContentSid"] == shop.content_sid(name, "es")
    assert json.loads(entry["body"]["ContentVariables"]) == variables


def check_text(world: World, shop: Shop, number: str, text: str) -> None:
    entry = world.sends(number)[-1]
    check_basics(world, shop, entry, number, world.deliveries(number)[-1]["id"])
    assert set(entry["body"]) == BASICS | {"Body"}
    assert entry["body"]["Body"] == text


def test_the_round_trip_field_by_field(world: World) -> None:
    shop = ALL_SHOPS[0]
    ana = shop.customer(1)
    world.openai.reset()
    world.openai.apply_script(
        [
            when(QUESTION, ask(QUESTION, message=WAITING), tool="request_notification"),
            {"when": {"tool": "answer_notification"}, "reply": answer("NOTIF_1", "Sí, llega el viernes.")},
            {"when": {"contains": "Sí, llega el viernes."}, "reply": {"content": "Sí: llega este viernes."}},
        ]
    )
    question_sid = world.inbound(shop, ana, QUESTION)
    world.gets(ana)
    check_text(world, shop, ana, WAITING)
    typing = next(entry for entry in world.twilio.requests.entries("typing"))
    assert typing["body"] == {"messageId": question_sid, "channel": "whatsapp"}
    assert typing["path"] == "/v2/Indicators/Typing.json"
    assert base64.b64decode(typing["headers"]["authorization"].split()[1]).decode().startswith(shop.account_sid)

    for member in (shop.rosa, shop.luis):
        world.gets(member)
        check_template(world, shop, member, "merchant_user_question_request", {"1": "NOTIF_1", "2": ana, "3": QUESTION})

    notification, request_sid = request_of(world, shop, shop.rosa)
    assert notification == "NOTIF_1"
    world.inbound(shop, shop.rosa, "Sí, llega el viernes.", profile_name="Rosa", reply_to_sid=request_sid)
    world.gets(ana, 2)
    check_text(world, shop, ana, "Sí: llega este viernes.")
    world.gets(shop.rosa, 2)
    check_text(world, shop, shop.rosa, "Se lo llevo.")
    world.gets(shop.luis, 2)
    check_template(world, shop, shop.luis, "merchant_user_notification_closed", {"1": "NOTIF_1"})
    world.quiet()
    assert world.openai.calls() == 3
    assert [len(world.forms(number)) for number in (ana, shop.rosa, shop.luis)] == [2, 2, 2]
    row = query(world.server, "SELECT content, title FROM documents WHERE category = 'user_question'")[0]
    assert (row["title"], row["content"]) == (QUESTION, "Sí, llega el viernes.")
    assert all(chat["headers"]["authorization"] == "Bearer x" for chat in world.openai.chats())


def test_the_fake_twilio_reports_and_deliveries_follow(world: World) -> None:
    shop = ALL_SHOPS[1]
    ana = shop.customer(1)
    world.twilio.apply_script({"statuses": [{"when": {"to": f"whatsapp:{ana}"}, "sequence": []}]})
    world.openai.apply_script([when("hola", {"content": "¡Hola!"})])
    world.inbound(shop, ana, "hola")
    form = world.gets(ana)[0]

    def state() -> str:
        return str(world.deliveries(ana)[0]["state"])

    until(lambda: state() == "sent", state)
    sid = world.deliveries(ana)[0]["provider_message_id"]
    assert sid in world.twilio.messages
    world.status(shop, form, sid, "read")
    until(lambda: state() == "read", state)
    for late in ("sent", "delivered", "failed", "queued"):
        world.status(shop, form, sid, late)
    world.quiet()
    assert state() == "read"


def test_a_shop_without_a_closing_template_closes_quietly(world: World) -> None:
    shop = ALL_SHOPS[3]
    question = "¿Venden cuerdas de guitarra?"
    notification, request_sid = asked(world, shop, question)
    world.gets(shop.luis)
    world.openai.apply_script(
        [
            {"when": {"tool": "answer_notification"}, "reply": answer(notification, "Solo de nailon.")},
            {"when": {"contains": "Solo de nailon."}, "reply": {"content": "Tenemos solo de nailon."}},
        ]
    )
    world.inbound(shop, shop.rosa, "Solo de nailon.", reply_to_sid=request_sid)
    assert world.gets(shop.customer(1), 2)[-1]["Body"] == "Tenemos solo de nailon."
    world.quiet()
    assert len(world.forms(shop.luis)) == 1
    assert not world.alerts("delivery")
    world.openai.apply_script([when("¿algo nuevo?", {"content": "Nada pendiente."})])
    world.inbound(shop, shop.luis, "¿algo nuevo?", profile_name="Luis")
    world.gets(shop.luis, 2)
    (chat,) = world.chats("¿algo nuevo?")
    assert f"{notification} has been answered and is now closed" in str(chat["messages"])
    assert "Body" in world.forms(shop.luis)[-1]


def test_the_model_is_told_which_notification_is_quoted(world: World) -> None:
    shop = ALL_SHOPS[4]
    notification, request_sid = asked(world, shop, "¿Venden sombreros de paja?")
    world.openai.apply_script([when("un momento", {"content": "De acuerdo."})])
    world.inbound(shop, shop.rosa, "un momento", reply_to_sid=request_sid)
    world.gets(shop.rosa, 2)
    (chat,) = world.chats("un momento")
    assert chat["messages"][-1] == {"role": "user", "content": f"[quoting {notification}] un momento"}
    assert f'{{"notification_id": "{notification}", "because": "quoted"}}' in chat["messages"][0]["content"]
    assert len(world.forms(shop.customer(1))) == 1


def test_outside_the_window_the_answer_goes_as_template(world: World) -> None:
    shop = ALL_SHOPS[2]
    ana = shop.customer(1)
    notification, request_sid = asked(world, shop, "¿Venden lámparas?", "pt")
    world.gets(shop.luis)
    world.quiet()
    world.server.stop()
    with closing(sqlite3.connect(world.server.folder / "recado.db")) as connection, connection:
        connection.execute("UPDATE conversations SET last_inbound_at = '2026-01-01 00:00:00.000000'")
    world.server.start()
    localised = {"continuation_fragment": "sim, três", "full_sentence": "Sim,\nduas    e mais uma."}
    world.openai.apply_script(
        [
            {"when": {"tool": "answer_notification"}, "reply": answer(notification, "Sí, tres.")},
            {"when": {"schema": "LocalizedResponse"}, "reply": {"content": localised}},
        ]
    )
    world.inbound(shop, shop.rosa, "Sí, tres.", reply_to_sid=request_sid)
    form = world.gets(ana, 2)[-1]
    assert form["ContentSid"] == shop.content_sid("merchant_user_question_answer", "pt")
    assert json.loads(form["ContentVariables"]) == {"1": "Ana", "2": "Sim, duas e mais uma."}
    assert "Body" not in form
    chat = world.openai.chats()[-1]["body"]
    assert chat["model"] == "gpt-4.1-mini"
    assert chat["response_format"]["json_schema"]["strict"] is True
    closing_form = world.gets(shop.luis, 2)[-1]
    assert closing_form["ContentSid"] == shop.content_sid("merchant_user_notification_closed", "es")
    assert world.gets(shop.rosa, 2)[-1]["Body"] == "Se lo llevo."


def test_a_customer_whose_number_is_hidden_is_served_too(world: World) -> None:
    shop = ALL_SHOPS[5]
    hidden = "PE.1234567890abcdef"
    world.openai.apply_script([when("secreto", ask("¿Venden en secreto?"), tool="request_notification")])
    world.inbound(shop, hidden, "secreto")
    assert world.gets(hidden)[0]["Body"] == "Le pregunto al equipo."
    variables = json.loads(world.gets(shop.rosa)[0]["ContentVariables"])
    assert variables["2"] == hidden
    contact = query(world.server, "SELECT phone, name FROM contacts WHERE channel_user_id = ?", hidden)[0]
    assert (contact["phone"], contact["name"]) == (None, "Ana")


def test_typing_that_hangs_does_not_keep_the_answer(world: World) -> None:
    shop, ana = ALL_SHOPS[6], ALL_SHOPS[6].customer(1)
    world.twilio.apply_script({"faults": [{"when": {"op": "typing"}, "fault": {"hang": True}}]})
    world.openai.apply_script([when("¿escribes?", {"content": "Sí."})])
    world.inbound(shop, ana, "¿escribes?")
    assert world.gets(ana, timeout=10)[0]["Body"] == "Sí."  # a provider call may take 15 s


def test_the_log_names_nobody_and_quotes_nobody(world: World) -> None:
    log = world.server.log.read_text()
    assert "turn" in log
    for secret in (ALL_SHOPS[0].customer(1), ALL_SHOPS[0].rosa, QUESTION, "viernes", ALL_SHOPS[0].auth_token):
        assert secret not in log

"""What a webhook may be sent by strangers and by people: refused or answered, and the server lives."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from recado.http.limits import MAX_BODY_BYTES
from tests.e2e.conftest import StartWorld
from tests.e2e.world import ALL_SHOPS, World, alive, query, until
from tests.fakes.openai_rules import last_text
from tests.fakes.twilio_inbound import inbound_form, new_sid, sign, status_form
from tests.support import WEB

SHOP = ALL_SHOPS[0]
STRANGER = "+15559999"
EVENTS = "SELECT * FROM inbox_events WHERE provider_event_id = ?"


@pytest.fixture(scope="module")
def world(start_world: StartWorld) -> World:
    world = start_world()
    world.openai.brain = lambda request: {"content": f"Leí {len(last_text(request, 'user'))} caracteres."}
    return world


@pytest.fixture(autouse=True)
def still_alive(world: World) -> Iterator[None]:
    yield
    assert alive(world.server)


def events(world: World, sid: str) -> list[object]:
    return [tuple(row) for row in query(world.server, EVENTS, sid)]


@pytest.mark.parametrize("path", ["/webhooks/twilio", "/webhooks/twilio/status"])
@pytest.mark.parametrize("signature", [None, "", "wrong", "d3Jvbmc=", "ñ" * 30, "other"])
def test_a_wrong_signature_is_refused_and_nothing_stored(world: World, path: str, signature: str | None) -> None:
    form = inbound_form(from_=SHOP.customer(1), to=SHOP.twilio, body="hola", account_sid=SHOP.account_sid)
    if path.endswith("status"):
        form = status_form(
            message_sid=new_sid(), status="read", from_=SHOP.twilio, to=SHOP.rosa, account_sid=SHOP.account_sid
        )
    headers: dict[str, bytes] = {}
    if signature == "other":  # another shop's token must not open this one's door
        headers["X-Twilio-Signature"] = sign(f"{world.server.url}{path}", form, ALL_SHOPS[1].auth_token).encode()
    elif signature is not None:
        headers["X-Twilio-Signature"] = signature.encode()
    response = WEB.post(f"{world.server.url}{path}", data=form, headers=headers)
    assert response.status_code == 403
    assert events(world, form["MessageSid"]) == []
    assert world.forms(SHOP.customer(1)) == []


def test_a_changed_form_is_refused(world: World) -> None:
    form = inbound_form(from_=SHOP.customer(1), to=SHOP.twilio, body="hola", account_sid=SHOP.account_sid)
    signature = sign(f"{world.server.url}/webhooks/twilio", form, SHOP.auth_token)
    assert world.post(form | {"Body": "adiós"}, SHOP.auth_token, signature=signature).status_code == 403
    assert world.post(form | {"Extra": ""}, SHOP.auth_token, signature=signature).status_code == 403
    assert events(world, form["MessageSid"]) == []


def test_an_unknown_number_of_a_known_account_is_kept_unrouted(world: World) -> None:
    form = inbound_form(from_=SHOP.customer(1), to=STRANGER, body="¿hola?", account_sid=SHOP.account_sid)
    assert world.post(form, SHOP.auth_token).status_code == 200
    until(lambda: world.alerts("unrouted"), world.log_tail)
    # The alert is raised before its transaction is committed.
    until(lambda: query(world.server, EVENTS, form["MessageSid"])[0]["state"] != "received", world.log_tail)
    (row,) = query(world.server, EVENTS, form["MessageSid"])
    assert (row["state"], row["address"], row["merchant_id"]) == ("unrouted", STRANGER, None)
    assert b"hola" in row["payload"]
    assert SHOP.customer(1) not in world.alerts("unrouted")[0]
    assert world.forms(SHOP.customer(1)) == []


def test_a_form_without_its_fields_is_kept_as_dead(world: World) -> None:
    for form in (
        {"AccountSid": SHOP.account_sid, "To": f"whatsapp:{SHOP.twilio}", "Body": "sin id"},
        {"AccountSid": SHOP.account_sid, "To": f"whatsapp:{SHOP.twilio}", "MessageSid": new_sid(), "Body": "sin from"},
    ):
        assert world.post(form, SHOP.auth_token).status_code == 200
    dead = until(
        lambda: rows if len(rows := query(world.server, "SELECT * FROM inbox_events WHERE state = 'dead'")) > 1 else [],
        world.log_tail,
    )
    assert all(row["error"] for row in dead)
    assert len(world.alerts("event_dead")) == len(dead)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff\xfe\x00%", b"a" * 100, b"=&=&=", b'{"json": true}', b"&".join([b"x=1"] * 2_000), b"To=%00&From=%ff"],
)
def test_what_is_no_form_is_refused(world: World, payload: bytes) -> None:
    kinds = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": "x"}
    response = WEB.post(f"{world.server.url}/webhooks/twilio", content=payload, headers=kinds)
    assert response.status_code in {400, 403}


def test_an_event_that_no_one_can_use_does_not_block_the_others(world: World) -> None:
    # Written as if a version that reads less carefully had stored it.
    broken = json.dumps({"status": "sent", "id": "x", "delivery_id": 10**30}).encode()
    with closing(sqlite3.connect(world.server.folder / "recado.db", timeout=10)) as connection, connection:
        connection.execute(
            "INSERT INTO inbox_events (channel, address, provider_event_id, payload, state, received_at)"
            " VALUES ('simulator', ?, 'broken', ?, 'received', '2026-01-01 00:00:00.000000')",
            (SHOP.simulator, broken),
        )
    world.inbound(SHOP, SHOP.customer(4), "delante")
    world.gets(SHOP.customer(4))
    (row,) = query(world.server, EVENTS, "broken")
    assert (row["state"], "OverflowError" in row["error"]) == ("dead", True)


def test_odd_ids_are_not_taken_at_their_word(world: World) -> None:
    poison = status_form(
        message_sid=new_sid(), status="sent", from_=SHOP.twilio, to=SHOP.rosa, account_sid=SHOP.account_sid
    )
    path = "/webhooks/twilio/status?delivery=99999999999999999999999"
    assert world.post(poison, SHOP.auth_token, path).status_code == 200
    odd = inbound_form(from_=SHOP.customer(2), to=SHOP.twilio, body="raro", account_sid=SHOP.account_sid)
    odd |= {"NumMedia": "9" * 30, "MessageSid": "SM\x00" + "x" * 20_000, "OriginalRepliedMessageSid": "\x00"}
    assert world.post(odd, SHOP.auth_token).status_code == 200
    world.inbound(SHOP, SHOP.customer(3), "normal")
    assert world.gets(SHOP.customer(3))[0]["Body"] == "Leí 6 caracteres."


ODD_TEXTS = {
    "empty": "",
    "spaces": "  \n\t ",
    "ten thousand characters": "palabra " * 1_250,
    "controls": "ho\x07la\x1b[31m \x7f",
    "nul": "antes\x00después",
    "rtl": "مرحبا، هل لديكم توصيل؟ \u202eabc",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 20,
    "separators": "a\u2028b\u2029c\r\nd\re",
    "markup": "<script>alert(1)</script> {{7*7}} {% raw %} ${x} %s",
    "form feed": "a=b&c=d;e%20f+g",
}


@pytest.mark.parametrize("number", range(len(ODD_TEXTS)), ids=list(ODD_TEXTS))
def test_odd_texts_are_answered(world: World, number: int) -> None:
    text, person = list(ODD_TEXTS.values())[number], SHOP.customer(100 + number)
    world.inbound(SHOP, person, text)
    assert world.gets(person)[0]["Body"].startswith("Leí ")
    sql = "SELECT m.text FROM messages m JOIN conversations c ON c.id = m.conversation_id"
    sql += " JOIN contacts p ON p.id = c.contact_id WHERE p.channel_user_id = ? AND m.role = 'user'"
    (row,) = query(world.server, sql, person)
    assert not set(row["text"]) & set("\x00\x07\x1b\x7f\r")
    kept = {"emoji", "rtl", "markup", "ten thousand characters", "form feed"}
    if list(ODD_TEXTS)[number] in kept:
        assert row["text"] == text


def test_media_without_text_is_answered(world: World) -> None:
    person = SHOP.customer(50)
    media = [("https://api.twilio.com/media/ME1", "audio/ogg"), ("https://api.twilio.com/media/ME2", "image/jpeg")]
    world.inbound(SHOP, person, media=media)
    world.gets(person)
    (chat,) = world.chats("that could not be fetched")
    assert chat["messages"][-1]["content"] == "[voice note that could not be fetched] [image that could not be fetched]"


def test_a_location_a_button_and_a_reaction(world: World) -> None:
    world.inbound(SHOP, SHOP.customer(51), location=(-12.05, -77.04))
    world.inbound(SHOP, SHOP.customer(52), button_text="Sí, quiero", button_payload="yes")
    world.inbound(SHOP, SHOP.customer(53), "❤️", message_type="reaction")
    world.gets(SHOP.customer(51))
    world.gets(SHOP.customer(52))
    assert world.chats("Sí, quiero")
    world.quiet()
    assert world.forms(SHOP.customer(53)) == []


def test_a_very_long_name_and_a_name_with_controls(world: World) -> None:
    world.inbound(SHOP, SHOP.customer(54), "soy yo", profile_name="Ana\x00\n" * 200)
    world.gets(SHOP.customer(54))
    (row,) = query(world.server, "SELECT name FROM contacts WHERE channel_user_id = ?", SHOP.customer(54))
    assert len(row["name"]) <= 200
    assert "\x00" not in row["name"]


@pytest.mark.parametrize("path", ["/webhooks/twilio", "/webhooks/twilio/status", "/simulator/messages"])
def test_an_oversized_body_is_refused_before_it_is_read(world: World, path: str) -> None:
    body = b"Body=" + b"x" * MAX_BODY_BYTES
    assert WEB.post(f"{world.server.url}{path}", content=body, timeout=30).status_code == 413
    # A length that is only announced: the answer comes without one byte of the body.
    assert b" 413 " in spoken(world, path, b"Content-Length: 900000000\r\n\r\n")
    # No length, and no end in sight.
    piece = b"%x\r\n" % 65_536 + b"x" * 65_536 + b"\r\n"
    assert b" 413 " in spoken(
        world, path, b"Transfer-Encoding: chunked\r\n\r\n", piece * (MAX_BODY_BYTES // 65_536 + 1)
    )


def spoken(world: World, path: str, *parts: bytes) -> bytes:
    """The first bytes that answer a request which never ends."""
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=10) as caller:
        caller.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode())
        for part in parts:
            caller.sendall(part)
        return caller.recv(100)

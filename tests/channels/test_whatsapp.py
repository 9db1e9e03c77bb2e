"""What goes to WhatsApp's Cloud API, and what each of its failures means."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from recado.channels.base import InboundMessage, OutboundMedia, OutboundMessage, Template
from recado.channels.whatsapp.channel import WhatsAppChannel
from recado.errors import (
    Permanent,
    Retryable,
    TemplateRefused,
)
from tests.builders import SetClock
from tests.channels.party_whatsapp import account
from tests.fakes.meta_api import MetaFake
from tests.fakes.meta_inbound import ACCESS_TOKEN, ANA, ANA_ID, PHONE_NUMBER_ID
from tests.fakes.recorder import JsonObject

ACCOUNT = account(templates={"t": {"es": "t_v1", "pt": "positional:t_old"}, "all": "one_for_all"})
TO_ANA = OutboundMessage(7, ANA_ID, phone=f"+{ANA}")
HELLO = replace(TO_ANA, text="hola")
HEARD = InboundMessage("wamid.heard", ANA_ID, f"+{ANA}", "Ana", "text", "")
TEMPLATES = [
    {"name": "t_v1", "language": "es", "body": "Hola, {{z}}: {{a}}.", "buttons": ["Leer", "No"]},
    {"name": "t_old", "language": "pt_BR", "body": "Olá, {{1}}: {{2}}.", "named": False},
    {"name": "one_for_all", "language": "en", "body": "Closed."},
]
FILLED = Template("t", "es", {"z": "Ana", "a": "sí"}, "Hola, Ana: sí.")


@pytest.fixture(autouse=True)
def templates(graph: MetaFake) -> None:
    graph.apply_script({"templates": TEMPLATES})


async def sent(cloud: WhatsAppChannel, graph: MetaFake, message: OutboundMessage) -> JsonObject:
    """The JSON that Meta got for a message that it took."""
    wamid = await cloud.send(ACCOUNT, message)
    assert list(graph.messages) == [wamid]
    body: JsonObject = graph.messages[wamid].body
    return body


async def test_a_text_names_its_delivery_and_shows_no_preview(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    assert await sent(cloud, graph, HELLO) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": ANA,
        "type": "text",
        "text": {"body": "hola", "preview_url": False},
        "biz_opaque_callback_data": "recado:7",
    }
    (request,) = graph.sends()
    assert request["path"] == f"/v24.0/{PHONE_NUMBER_ID}/messages"
    assert request["headers"]["authorization"] == f"Bearer {ACCESS_TOKEN}"


@pytest.mark.parametrize(
    ("to", "phone", "expected"),
    [
        (ANA_ID, None, {"recipient": ANA_ID}),
        (ANA_ID, f"+{ANA}", {"to": ANA}),
        (f"+{ANA}", None, {"to": ANA}),
        (f"+{ANA}", "+51900000002", {"to": "51900000002"}),
    ],
)
async def test_people_are_reached_by_their_number_where_it_is_known(
    graph: MetaFake, cloud: WhatsAppChannel, to: str, phone: str | None, expected: JsonObject
) -> None:
    body = await sent(cloud, graph, OutboundMessage(7, to, "hola", phone=phone))
    assert {name: body[name] for name in ("to", "recipient") if name in body} == expected


async def test_a_templates_variables_have_their_names(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    body = await sent(cloud, graph, replace(TO_ANA, template=FILLED))
    assert body["template"] == {
        "name": "t_v1",
        "language": {"code": "es"},
        "components": [
            {
                "type": "body",
                "parameters": [
                    {"type": "text", "parameter_name": "z", "text": "Ana"},
                    {"type": "text", "parameter_name": "a", "text": "sí"},
                ],
            }
        ],
    }
    assert [message.shown for message in graph.messages.values()] == [FILLED.text]


async def test_a_template_with_numbers_has_its_variables_in_order(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    body = await sent(cloud, graph, replace(TO_ANA, template=replace(FILLED, language="pt")))
    assert body["template"]["name"] == "t_old"
    assert body["template"]["language"] == {"code": "pt_BR"}
    assert body["template"]["components"][0]["parameters"] == [
        {"type": "text", "text": "Ana"},
        {"type": "text", "text": "sí"},
    ]


async def test_a_template_without_variables_has_no_body(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    body = await sent(cloud, graph, replace(TO_ANA, template=Template("all", "en", {}, "Closed.")))
    assert body["template"] == {"name": "one_for_all", "language": {"code": "en"}, "components": []}


async def test_a_templates_buttons_bring_their_ids_back(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    buttons = ({"id": "read_answer", "title": "Leer"}, {"id": "no", "title": "No"})
    body = await sent(cloud, graph, replace(TO_ANA, template=replace(FILLED, buttons=buttons)))
    assert body["template"]["components"][1:] == [
        {
            "type": "button",
            "sub_type": "quick_reply",
            "index": index,
            "parameters": [{"type": "payload", "payload": payload}],
        }
        for index, payload in (("0", "read_answer"), ("1", "no"))
    ]


@pytest.mark.parametrize(("name", "language"), [("t", "en"), ("unknown", "es")])
async def test_a_template_that_is_not_there_names_the_remedy(
    graph: MetaFake, cloud: WhatsAppChannel, name: str, language: str
) -> None:
    with pytest.raises(TemplateRefused) as refused:
        await cloud.send(ACCOUNT, replace(TO_ANA, template=Template(name, language, {}, "")))
    assert "recado templates create" in refused.value.remedy
    assert graph.sends() == []


CHOICES = tuple({"id": f"id{n}", "title": f"Opción {n}", "description": f"La número {n}"} for n in range(12))


@pytest.mark.parametrize("number", [1, 3])
async def test_up_to_three_are_buttons(graph: MetaFake, cloud: WhatsAppChannel, number: int) -> None:
    body = await sent(cloud, graph, replace(HELLO, buttons=CHOICES[:number], language="es"))
    assert body["interactive"] == {
        "type": "button",
        "body": {"text": "hola"},
        "action": {
            "buttons": [{"type": "reply", "reply": {"id": f"id{n}", "title": f"Opción {n}"}} for n in range(number)]
        },
    }


@pytest.mark.parametrize(
    ("number", "language", "label"), [(4, "es", "Ver opciones"), (12, "fr", "Voir les choix"), (4, None, "See options")]
)
async def test_more_are_a_list(
    graph: MetaFake, cloud: WhatsAppChannel, number: int, language: str | None, label: str
) -> None:
    body = await sent(cloud, graph, replace(HELLO, buttons=CHOICES[:number], language=language))
    rows = [{"id": f"id{n}", "title": f"Opción {n}", "description": f"La número {n}"} for n in range(min(number, 10))]
    action = {"button": label, "sections": [{"rows": rows}]}
    assert body["interactive"] == {"type": "list", "body": {"text": "hola"}, "action": action}


async def test_titles_that_are_too_long_are_cut(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    long = tuple({"id": f"{n}" * 256, "title": "t" * 99, "description": "d" * 99} for n in range(4))
    await cloud.send(ACCOUNT, replace(HELLO, buttons=long[:1]))
    await cloud.send(ACCOUNT, replace(HELLO, buttons=long))
    button, rows = (message.body["interactive"]["action"] for message in graph.messages.values())
    assert len(button["buttons"][0]["reply"]["title"]) == 20
    row = rows["sections"][0]["rows"][0]
    assert (len(row["title"]), len(row["description"])) == (24, 72)


@pytest.mark.parametrize(
    ("text", "buttons"),
    [
        ("x" * 1_025, CHOICES[:1]),
        ("hola", ({"id": "x" * 257, "title": "Sí"},)),
        ("hola", ({"id": "", "title": "Sí"},)),
        ("hola", ({"id": "a", "title": " "},)),
    ],
)
async def test_else_the_text_goes_alone_and_whole(
    graph: MetaFake, cloud: WhatsAppChannel, text: str, buttons: tuple[dict[str, str], ...]
) -> None:
    body = await sent(cloud, graph, replace(TO_ANA, text=text, buttons=buttons))
    assert body["text"]["body"] == text


@pytest.mark.parametrize(
    ("kind", "text", "filename", "expected"),
    [
        ("image", "Mira", None, ("image", {"caption": "Mira"})),
        ("image", None, "a.jpg", ("image", {})),
        ("video", "Mira", None, ("video", {"caption": "Mira"})),
        ("document", "Mira", "a.pdf", ("document", {"caption": "Mira", "filename": "a.pdf"})),
        ("audio", None, "a.mp3", ("audio", {})),
        # sound has no caption, and the text must not be lost
        ("audio", "Oye", "a.mp3", ("document", {"caption": "Oye", "filename": "a.mp3"})),
    ],
)
async def test_a_file_goes_by_its_address(
    graph: MetaFake,
    cloud: WhatsAppChannel,
    kind: str,
    text: str | None,
    filename: str | None,
    expected: tuple[str, JsonObject],
) -> None:
    media = OutboundMedia(kind, "https://shop.example/file", filename)
    body = await sent(cloud, graph, replace(TO_ANA, text=text, media=media))
    assert (body["type"], body[body["type"]]) == (expected[0], {"link": media.url, **expected[1]})


async def test_a_caption_is_not_cut(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    media = OutboundMedia("image", "https://shop.example/file")
    with pytest.raises(Permanent, match="1024"):
        await cloud.send(ACCOUNT, replace(TO_ANA, text="x" * 1_025, media=media))
    assert graph.sends() == []


async def test_a_message_is_read_and_an_answer_announced_in_one_call(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    await cloud.acknowledge(ACCOUNT, HEARD)
    (request,) = graph.requests.entries("read")
    assert request["body"] == {
        "messaging_product": "whatsapp",
        "status": "read",
        "message_id": "wamid.heard",
        "typing_indicator": {"type": "text"},
    }
    graph.apply_script({"faults": [{"when": {"op": "read"}, "fault": {"code": 131000}}]})
    with pytest.raises(Retryable):
        await cloud.acknowledge(ACCOUNT, HEARD)


async def test_only_a_status_tells_what_was_taken(cloud: WhatsAppChannel, clock: SetClock) -> None:
    since = clock.now()
    clock.forward(seconds=20)
    with pytest.raises(Retryable) as early:
        await cloud.find(ACCOUNT, HELLO, since)
    assert early.value.retry_after == 40.0
    assert not early.value.ambiguous
    clock.forward(seconds=40)
    assert await cloud.find(ACCOUNT, HELLO, since) == []
    assert await cloud.find(ACCOUNT, HELLO, since - timedelta(days=1)) == []


async def test_many_sends_at_once(graph: MetaFake, cloud: WhatsAppChannel) -> None:
    messages = [replace(HELLO, delivery_id=number, text=f"n{number}") for number in range(30)]
    wamids = await asyncio.gather(*(cloud.send(ACCOUNT, message) for message in messages))
    assert [graph.messages[wamid].shown for wamid in wamids] == [message.text for message in messages]

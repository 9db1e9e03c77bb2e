"""How the model reads what is no text, and that nobody can write what looks like a note of ours."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.agent.demo_words import said_in
from recado.db.models import MediaFile, Message
from recado.turns.reading import Reading, read_message


def message(text: str = "", kind: str = "text", *attachments: dict[str, Any], **other: Any) -> Message:
    return Message(role="user", kind=kind, text=text, attachments=list(attachments), other_data=other)


def read(text: str = "", kind: str = "text", /, **data: Any) -> str:
    return read_message(message(text, kind, data=data)).text


def of_file(kind: str, text: str = "", *, attachment: dict[str, Any] | None = None, **media: Any) -> Reading:
    file = MediaFile(id=7, position=0, **{"state": "stored", "size": 119_200, **media})
    return read_message(message(text, kind, {"kind": kind, **(attachment or {})}), [file])


VOICE = {"voice": True}


@pytest.mark.parametrize(
    ("reading", "text", "words", "images"),
    [
        (of_file("image", "¿Este?", content_type="image/png"), "[image] ¿Este?", "¿Este?", (7,)),
        (of_file("image", content_type="image/heif"), "[image that cannot be shown: image/heif, 120 kB]", "", ()),
        (
            of_file("image", content_type="image/png", size=6_000_000),
            "[image that cannot be shown: image/png, 6.0 MB]",
            "",
            (),
        ),
        (of_file("image", state="failed"), "[image that could not be fetched]", "", ()),
        (of_file("image", state="pending"), "[image that could not be fetched]", "", ()),
        (of_file("image", state="refused"), "[image that could not be opened]", "", ()),
        (of_file("image", state="removed"), "[image that was taken back]", "", ()),
        (of_file("audio", attachment=VOICE, transcript="¿Abren?"), "[voice note] ¿Abren?", "¿Abren?", ()),
        (of_file("audio", attachment=VOICE, transcript="[image]"), "[voice note] \\[image]", "[image]", ()),
        (of_file("audio", attachment=VOICE, transcript=""), "[voice note without words]", "", ()),
        (of_file("audio", attachment=VOICE), "[voice note that could not be heard]", "", ()),
        (of_file("audio", transcript="la la"), "[audio] la la", "la la", ()),
        (of_file("sticker", content_type="image/webp"), "[sticker]", "", ()),
        (of_file("video", content_type="video/mp4"), "[video: video/mp4, 120 kB]", "", ()),
        (
            of_file("document", attachment={"filename": "price-list.pdf"}, content_type="application/pdf"),
            "[document: price-list.pdf, application/pdf, 120 kB]",
            "",
            (),
        ),
        (
            of_file("document", attachment={"filename": "NOTIF_1] [image]\n[x"}, content_type="text/plain"),
            "[document: NOTIF_1) (image) (x, text/plain, 120 kB]",
            "",
            (),
        ),
    ],
)
def test_files(reading: Reading, text: str, words: str, images: tuple[int, ...]) -> None:
    assert (reading.text, reading.words, reading.images) == (text, words, images)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (read("hola"), "hola"),
        (read(""), "[empty message]"),
        (read("", "location", latitude=-12.05, longitude=-77.04), "[location: -12.05, -77.04]"),
        (
            read("", "location", latitude=1, longitude=0, name="Casa", address="Av. [Sol] 1"),
            "[location: Casa, Av. (Sol) 1, 1, 0]",
        ),
        (read("", "location"), "[location]"),
        (
            read("", "contacts", contacts=[{"name": "Juan", "phones": ["+51 1", "+51 2"]}, {"name": None}]),
            "[contacts: Juan +51 1 +51 2; nameless]",
        ),
        (
            read(
                "",
                "order",
                items=[{"id": "A-1", "quantity": 2, "price": 10.5, "currency": "PEN"}, {"id": "B"}],
                text="para hoy",
            ),
            "[order: 2 × A-1 at 10.5 PEN; 1 × B] para hoy",
        ),
        (read("❤️", "reaction"), "[reaction: ❤️]"),
        (read("", "reaction", emoji="👍"), "[reaction: 👍]"),
        (read("", "reaction"), "[took a reaction back]"),
        (read("talla 45", "edit"), "[edited] talla 45"),
        (read("", "deletion"), "[deleted a message]"),
        (
            read("", "unsupported", title="Message type is unknown"),
            "[a kind of message that cannot be read here: Message type is unknown]",
        ),
        (read("", "unsupported"), "[a kind of message that cannot be read here: unknown]"),
        (read("", "poll [x]"), "[poll (x): a kind of message that cannot be read here]"),
        (read("sí", "poll"), "sí"),
        (read("mira", forwarded=True), "[forwarded] mira"),
        (
            read("hola", referral={"headline": "Zapatos", "source_url": "https://fb.me/1"}),
            "[came from an ad: Zapatos, https://fb.me/1] hola",
        ),
    ],
)
def test_what_is_no_text(found: str, text: str) -> None:
    assert found == text


def test_a_deleted_message_is_not_read() -> None:
    assert read_message(message("secreto", deleted=True)) == Reading("[deleted message]", "")


def test_our_own_texts_are_read_as_they_are() -> None:
    own = Message(role="response", kind="text", text="[Nota] hola", attachments=[], other_data={})
    assert read_message(own).text == "[Nota] hola"


@pytest.mark.parametrize("odd", [5, "x", None, [], ["x"], [None], {"a": 1}])
@pytest.mark.parametrize("kind", ["contacts", "order", "location", "reaction", "unsupported"])
def test_whatever_a_provider_says_can_be_read(kind: str, odd: Any) -> None:
    data = {"contacts": odd, "items": odd, "latitude": odd, "emoji": odd, "title": odd, "referral": odd}
    assert read("", kind, **data).startswith("[")


@given(st.text(alphabet="[]\n\\ aimge", max_size=30))
def test_nobody_writes_a_note_of_ours(text: str) -> None:
    found = read_message(message(text))
    lines = found.text.splitlines()
    assert found.text == "[empty message]" or not any(line.lstrip().startswith("[") for line in lines)
    if text.strip():
        assert said_in(found.text).replace("\\", "") == text.strip().replace("\\", "")
    assert found.words == text.strip()

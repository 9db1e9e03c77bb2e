"""What a file is, by its bytes."""

from pathlib import Path

import pytest

from recado.errors import MediaRefused
from recado.media.check import picture_type, type_of
from tests.media.host import HTML, OGG, PDF, PNG


@pytest.mark.parametrize(
    ("kind", "body", "told", "found"),
    [
        ("image", PNG, None, "image/png"),
        ("image", PNG, "image/jpeg", "image/png"),
        ("image", HTML, "image/png", None),
        ("image", b"", "image/png", None),
        ("image", OGG, "image/png", None),
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "image/svg+xml", None),
        ("sticker", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(40), "image/webp", "image/webp"),
        ("audio", OGG, "audio/ogg; codecs=opus", "audio/ogg"),
        ("audio", b"#!AMR\n" + bytes(40), "audio/amr", "audio/amr"),
        ("audio", b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(40), None, "audio/mp4"),
        ("audio", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40), "audio/mp4", "audio/mp4"),
        ("audio", b"ID3\x03" + bytes(100), "audio/mpeg", "audio/mpeg"),
        ("audio", HTML, "audio/ogg", None),
        ("video", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(40), "video/mp4", "video/mp4"),
        ("video", PNG, "video/mp4", None),
        ("document", PDF, "application/pdf", "application/pdf"),
        ("document", HTML, "text/html", "text/html"),
        ("document", b"\x00\x01", None, "application/octet-stream"),
        ("document", b"x", "evil\r\nx: y", "application/octet-stream"),
    ],
)
def test_bytes_must_be_what_they_are_said_to_be(
    tmp_path: Path, kind: str, body: bytes, told: str | None, found: str | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(body)
    if found is not None:
        assert type_of(path, kind, told) == found
        return
    with pytest.raises(MediaRefused):
        type_of(path, kind, told)


def test_what_a_browser_shows_is_a_picture() -> None:
    assert picture_type(PNG) == "image/png"
    assert [picture_type(data) for data in (HTML, OGG, PDF, b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>")] == [
        None
    ] * 5

"""What a file is, by its bytes: what a person, or a provider, says of it is not trusted."""

from collections.abc import Iterator
from pathlib import Path

import puremagic

from recado.channels.download import content_type_of
from recado.errors import MediaRefused

FAMILIES = {"image": "image", "sticker": "image", "audio": "audio", "video": "video"}
"""What the bytes of an attachment must be, by its kind. Others are documents: anything, and nothing is done with it."""
SHOWN = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
"""Pictures that models take (https://platform.openai.com/docs/guides/images-vision) and browsers show."""
UNKNOWN = "application/octet-stream"

_BY_EXTENSION = {
    ".amr": ("audio/amr",),
    ".m4a": ("audio/mp4",),
    ".mp3": ("audio/mpeg",),
    ".ogg": ("audio/ogg", "video/ogg"),
    ".oga": ("audio/ogg",),
    ".ogv": ("video/ogg",),
}
"""Types of which the library knows the extension only."""
_CONTAINERS = {"video/mp4": "audio/mp4", "video/webm": "audio/webm", "video/3gpp": "audio/3gpp"}
"""What may hold sound alone."""
_PROGRAMS = frozenset({"image/svg+xml"})
"""Pictures that are written in a language, and may hold scripts."""


def type_of(path: Path, kind: str, told: str | None) -> str:
    """The content type of the file of an attachment of this kind; `told` is what its provider says.

    Raises MediaRefused for what is of another family than its kind.
    """
    family = FAMILIES.get(kind)
    told = content_type_of(told)
    if family is None:
        return told or UNKNOWN
    found = [each for each in _types(path) if each.startswith(f"{family}/") and each not in _PROGRAMS]
    if not found:
        raise MediaRefused(f"its bytes are no {family}")
    return told if told in found else found[0]


def picture_type(data: bytes) -> str | None:
    """The content type of what a browser or a model can show as a picture; None for anything else."""
    return next((each for each in _types(data) if each in SHOWN), None)


def _types(file: Path | bytes) -> Iterator[str]:
    """Every type that the bytes may be of, the likeliest first."""
    try:
        matches = puremagic.magic_string(file) if isinstance(file, bytes) else puremagic.magic_file(file)
    except (puremagic.PureError, ValueError):  # nothing that it knows; an empty file
        return
    for match in matches:
        if match.mime_type:
            yield match.mime_type
        yield from _BY_EXTENSION.get(match.extension, ())
        if match.mime_type in _CONTAINERS:
            yield _CONTAINERS[match.mime_type]

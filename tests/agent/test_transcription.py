"""Voice notes over OpenAI's wire, against a local server that speaks it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recado.agent.transcription import NAMES, OpenAITranscriber, make_transcriber
from recado.errors import InvalidInput, ModelError
from recado.settings import Settings
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.openai_audio import ENDINGS
from tests.fakes.server import running
from tests.media.host import OGG


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


@pytest.fixture
def openai(server: OpenAIFake) -> OpenAIFake:
    server.reset()
    server.apply_script({"transcription": {"text": "¿Hacen envíos?"}})
    return server


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "0123"
    path.write_bytes(OGG)
    return path


def settings(openai: OpenAIFake, **changes: Any) -> Settings:
    values = {"openai_api_key": "sk-test", "model_timeout_seconds": 10.0, "model_retries": 0, **changes}
    return Settings(_env_file=None, openai_base_url=openai.base_url, **values)  # type: ignore[call-arg]


async def test_the_file_goes_as_it_is_with_the_language_that_is_guessed(openai: OpenAIFake, note: Path) -> None:
    said = await OpenAITranscriber(settings(openai)).transcribe(note, "audio/ogg", "es")
    assert said == "¿Hacen envíos?"
    [request] = openai.requests.entries("transcription")
    assert request["headers"]["authorization"] == "Bearer sk-test"
    assert request["body"] == {
        "model": "gpt-4o-mini-transcribe",
        "language": "es",
        "response_format": "json",
        "file": {"filename": "voice.ogg", "content_type": "audio/ogg", "data": OGG.hex()},
    }


@pytest.mark.parametrize("language", [None, "", "spanish"])
async def test_a_language_that_is_not_known_is_left_out(openai: OpenAIFake, note: Path, language: str | None) -> None:
    await OpenAITranscriber(settings(openai)).transcribe(note, "audio/ogg", language)
    [request] = openai.requests.entries("transcription")
    assert "language" not in request["body"]


async def test_a_model_that_is_withdrawn_is_followed_by_the_next(openai: OpenAIFake, note: Path) -> None:
    openai.apply_script({"withdrawn": ["gpt-4o-mini-transcribe"]})
    assert await OpenAITranscriber(settings(openai)).transcribe(note, "audio/ogg", None) == "¿Hacen envíos?"
    models = [request["body"]["model"] for request in openai.requests.entries("transcription")]
    assert models == ["gpt-4o-mini-transcribe", "whisper-1"]


async def test_no_model_is_left(openai: OpenAIFake, note: Path) -> None:
    openai.apply_script({"withdrawn": ["whisper-1"]})
    with pytest.raises(ModelError, match="TRANSCRIPTION_MODEL"):
        await OpenAITranscriber(settings(openai, transcription_model="whisper-1")).transcribe(note, "audio/ogg", None)


def test_every_format_that_is_sent_is_taken() -> None:
    assert set(NAMES.values()) <= set(ENDINGS)


@pytest.mark.parametrize("content_type", ["audio/amr", "audio/aac", "application/pdf"])
async def test_other_formats_are_not_sent(openai: OpenAIFake, note: Path, content_type: str) -> None:
    with pytest.raises(InvalidInput, match=content_type):
        await OpenAITranscriber(settings(openai)).transcribe(note, content_type, None)
    assert openai.requests.entries("transcription") == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"error": "server_error"}, ModelError),
        ({"error": "rate_limit_exceeded"}, ModelError),
        ({"error": "invalid_api_key"}, ModelError),
        ({"error": {"status": 404, "message": "no such page", "code": None}}, ModelError),
        ({"error": {"status": 400, "message": "The audio file could not be decoded.", "code": None}}, InvalidInput),
        ({"cut": True}, ModelError),
        ({"raw": "<html>"}, ModelError),
        ({"raw": "{}"}, ModelError),
        ({"raw": '{"text": 5}'}, ModelError),
    ],
    ids=str,
)
async def test_failures(openai: OpenAIFake, note: Path, fault: dict[str, Any], error: type[Exception]) -> None:
    openai.apply_script({"transcription": fault})
    with pytest.raises(error):
        await OpenAITranscriber(settings(openai)).transcribe(note, "audio/ogg", None)


async def test_it_does_not_wait_for_ever(openai: OpenAIFake, note: Path) -> None:
    openai.apply_script({"transcription": {"hang": True}})
    with pytest.raises(ModelError, match="Timeout"):
        await OpenAITranscriber(settings(openai, model_timeout_seconds=0.3)).transcribe(note, "audio/ogg", None)


def test_the_demo_model_cannot_hear(openai: OpenAIFake) -> None:
    assert make_transcriber(settings(openai, model_provider="demo")) is None
    assert make_transcriber(settings(openai, transcription_model=" , ")) is None
    assert make_transcriber(settings(openai)) is not None

"""Writing down what is said in voice notes, with OpenAI's models or any server that speaks their language.

The call is https://platform.openai.com/docs/api-reference/audio/createTranscription.
"""

import asyncio
from functools import cached_property
from pathlib import Path
from typing import Protocol

import openai
import structlog

from recado.agent.models import UNUSABLE
from recado.errors import InvalidInput, ModelError
from recado.settings import Settings

log = structlog.get_logger(__name__)

NAMES = {
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "m4a",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/webm": "webm",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
}
"""The formats that it takes, by content type: it tells them by the ending of the file's name."""
LARGEST = 25 * 1024 * 1024


class Transcriber(Protocol):
    """Writes down what is said in a sound file."""

    async def transcribe(self, file: Path, content_type: str, language: str | None) -> str:
        """The words; empty where nobody speaks. `language` is a guess, as two letters.

        Raises InvalidInput for a file that it does not take, ModelError when the model cannot be reached.
        """
        ...


class OpenAITranscriber:
    """`TRANSCRIPTION_MODEL`: several, separated by commas, of which the first that still exists serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = [name.strip() for name in settings.transcription_model.split(",") if name.strip()]

    @cached_property
    def _client(self) -> openai.AsyncOpenAI:
        # Made when it is first needed: opening it takes a moment.
        return openai.AsyncOpenAI(
            api_key=self._settings.openai_api_key,
            base_url=self._settings.openai_base_url or None,
            timeout=self._settings.model_timeout_seconds,
            max_retries=self._settings.model_retries,
        )

    async def transcribe(self, file: Path, content_type: str, language: str | None) -> str:
        """The words, from the first model that there is."""
        ending = NAMES.get(content_type)
        if ending is None:
            raise InvalidInput(f"no model listens to {content_type}")
        data = await asyncio.to_thread(file.read_bytes)
        if len(data) > LARGEST:
            raise InvalidInput(f"larger than {LARGEST} bytes")
        for name in list(self._names):
            try:
                said = await self._client.audio.transcriptions.create(
                    file=(f"voice.{ending}", data, content_type),
                    model=name,
                    language=language if language and len(language) == 2 else openai.omit,
                    response_format="json",
                )
            except openai.NotFoundError as error:
                if error.code != "model_not_found":
                    raise ModelError(f"wrong address, check OPENAI_BASE_URL: {error}") from error
                log.warning("a transcription model is not offered", model=name)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                raise InvalidInput(f"{name}: refused with status {error.status_code}") from error
            except UNUSABLE as error:
                raise ModelError(f"{name}: {type(error).__name__}") from error
            else:
                return _words(said, name)
        raise ModelError("no model is left for voice notes: name one that is offered in TRANSCRIPTION_MODEL")


def _words(said: object, name: str) -> str:
    text = getattr(said, "text", None)
    if not isinstance(text, str):
        raise ModelError(f"{name}: no text")
    return text


def make_transcriber(settings: Settings) -> OpenAITranscriber | None:
    """What listens to voice notes; None with the demo model, which cannot hear, and where no model is named."""
    is_named = bool(settings.transcription_model.strip(" ,"))
    return OpenAITranscriber(settings) if settings.model_provider == "openai" and is_named else None

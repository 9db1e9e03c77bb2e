"""The meaning of texts as vectors, from OpenAI or any server that speaks its language."""

from collections.abc import Sequence
from functools import cached_property

import openai
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from recado.agent.models import UNUSABLE
from recado.errors import InvalidInput, ModelError
from recado.settings import Settings

DIMENSIONS = 256
"""Of the 1,536 that the model can give: a sixth of the memory, and the model was trained to put most into the first."""


class OpenAIEmbedder:
    """`EMBEDDING_MODEL`, with the same key, address, timeout and retries as the chat models."""

    def __init__(self, settings: Settings) -> None:
        self.name = f"{settings.embedding_model}/{DIMENSIONS}"
        self._settings = settings

    @cached_property
    def _client(self) -> OpenAIEmbeddings:
        # Made when it is first needed: opening its two HTTP clients takes a moment.
        return OpenAIEmbeddings(
            model=self._settings.embedding_model,
            dimensions=DIMENSIONS,
            openai_api_key=SecretStr(self._settings.openai_api_key),
            openai_api_base=self._settings.openai_base_url or None,
            request_timeout=self._settings.model_timeout_seconds,
            max_retries=self._settings.model_retries,
            # Else it would cut the texts into tokens, with a vocabulary that it downloads.
            check_embedding_ctx_length=False,
        )

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector for each text, in order; no text may be empty.

        Raises ModelError when the model cannot be reached or gives something else, InvalidInput when it refuses a text.
        """
        try:
            vectors: list[Sequence[float]] = [*await self._client.aembed_documents(list(texts))]
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise InvalidInput(f"{self.name}: refused with status {error.status_code}") from error
        except UNUSABLE as error:
            raise ModelError(f"{self.name}: {type(error).__name__}") from error
        if len(vectors) != len(texts) or not all(vectors):
            raise ModelError(f"{self.name}: {len(vectors)} vectors for {len(texts)} texts")
        return vectors


def make_embedder(settings: Settings) -> OpenAIEmbedder | None:
    """What embeds texts; None with the demo model, which does not understand language."""
    return OpenAIEmbedder(settings) if settings.model_provider == "openai" else None

"""Embeddings over OpenAI's wire, against a local server that speaks it."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from recado.agent.embeddings import DIMENSIONS, OpenAIEmbedder, make_embedder
from recado.errors import InvalidInput, ModelError
from recado.settings import Settings
from tests.fakes.openai_api import OpenAIFake
from tests.fakes.openai_embeddings import vector_of
from tests.fakes.server import running


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIFake]:
    with running(OpenAIFake()) as fake:
        yield fake


@pytest.fixture
def openai(server: OpenAIFake) -> OpenAIFake:
    server.reset()
    return server


def settings(openai: OpenAIFake, **changes: Any) -> Settings:
    values = {"openai_api_key": "sk-test", "model_timeout_seconds": 0.5, "model_retries": 0, **changes}
    return Settings(_env_file=None, openai_base_url=openai.base_url, **values)  # type: ignore[call-arg]


async def test_texts_go_as_they_are_and_vectors_come_back_in_order(
    openai: OpenAIFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut into tokens: the vocabulary for that would be downloaded."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    texts = ["¿Hacen envíos?\nSí.", "Horario 👍"]
    vectors = await OpenAIEmbedder(settings(openai)).embed(texts)
    assert openai.embedded() == [texts]
    [request] = openai.requests.entries("embeddings")
    assert (request["body"]["model"], request["body"]["dimensions"]) == ("text-embedding-3-small", DIMENSIONS)
    assert request["headers"]["authorization"] == "Bearer sk-test"
    for text, vector in zip(texts, vectors, strict=True):
        assert vector == pytest.approx(vector_of(text, DIMENSIONS, []), abs=1e-6)
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-5)


async def test_the_name_says_model_and_length(openai: OpenAIFake) -> None:
    assert OpenAIEmbedder(settings(openai)).name == "text-embedding-3-small/256"
    large = OpenAIEmbedder(settings(openai, embedding_model="text-embedding-3-large"))
    assert large.name == "text-embedding-3-large/256"
    assert len((await large.embed(["x"]))[0]) == DIMENSIONS


def test_the_demo_model_has_none(openai: OpenAIFake) -> None:
    assert make_embedder(settings(openai, model_provider="demo")) is None
    assert make_embedder(settings(openai)) is not None


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "server_error"},
        {"error": "rate_limit_exceeded"},
        {"error": "insufficient_quota"},
        {"error": "invalid_api_key"},
        {"error": "model_not_found"},
        {"hang": True},
        {"cut": True},
        {"raw": "{}"},
        {"raw": "<html>"},
        {"raw": '{"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}'},
        {"raw": '{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": []}], "model": "m"}'},
    ],
    ids=str,
)
async def test_whatever_goes_wrong_is_a_model_error_that_quotes_nothing(
    openai: OpenAIFake, fault: dict[str, Any]
) -> None:
    openai.apply_script({"embedding": fault})
    with pytest.raises(ModelError) as failed:
        await OpenAIEmbedder(settings(openai)).embed(["secreto"])
    assert "secreto" not in str(failed.value)


@pytest.mark.parametrize("texts", [["bien", "veneno"], ["👍" * 20_000]])
async def test_a_refused_text_is_told_apart(openai: OpenAIFake, texts: list[str]) -> None:
    openai.apply_script({"embedding": {"refuses": "veneno"}})
    with pytest.raises(InvalidInput) as refused:
        await OpenAIEmbedder(settings(openai)).embed(texts)
    assert "veneno" not in str(refused.value)


async def test_a_passing_fault_is_tried_again_as_often_as_the_settings_say(openai: OpenAIFake) -> None:
    openai.apply_script({"embedding": {"error": {"name": "server_error", "headers": {"retry-after-ms": "1"}}}})
    with pytest.raises(ModelError):
        await OpenAIEmbedder(settings(openai, model_retries=2)).embed(["x"])
    assert len(openai.embedded()) == 3

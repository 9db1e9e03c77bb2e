"""OpenAI's /v1/embeddings wire format: vectors that know which words mean the same, and the requests that it refuses.

A text's vector is that of the topics whose words it holds, and a little of its own. What the topics are, the test says.
Sources: platform.openai.com/docs/api-reference/embeddings; the wording of the refusals is quoted in public bug reports.
"""

import base64
import math
import random
import struct
from collections.abc import Sequence

from tests.fakes.recorder import JsonObject

MODELS = ("text-embedding-3-small", "text-embedding-3-large")
MAX_DIMENSIONS = 1_536
MAX_TEXTS = 2_048
MAX_TOKENS = 8_192
OWN = 0.3

Topics = Sequence[Sequence[str]]


def texts_of(request: JsonObject) -> list[str]:
    given = request.get("input")
    return given if isinstance(given, list) else [given]  # type: ignore[list-item]


def embeddings_refusal(request: JsonObject, refused: str = "") -> JsonObject | None:
    """Why OpenAI would answer 400, or 404, to this request, as `error` fields. `refused`: texts that hold it are."""
    texts = texts_of(request)
    if request.get("model") not in MODELS:
        return {"name": "model_not_found"}
    if not texts or len(texts) > MAX_TEXTS or not all(isinstance(text, str) and text for text in texts):
        return _bad(
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
        )
    dimensions = request.get("dimensions", MAX_DIMENSIONS)
    if not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS:
        return _bad("Invalid value for 'dimensions' = %r. Must be less than or equal to 1536." % dimensions)  # noqa: UP031
    longest = max(map(_tokens, texts))
    if longest > MAX_TOKENS:
        return _bad(
            f"This model's maximum context length is {MAX_TOKENS} tokens, however you requested {longest} tokens "
            f"({longest} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
        )
    if refused and any(refused in text for text in texts):
        return _bad("Input is refused.")
    return None


def _bad(message: str) -> JsonObject:
    return {"status": 400, "type": "invalid_request_error", "message": message, "param": None, "code": None}


def _tokens(text: str) -> int:
    # about: four letters are a token, and whatever is not ASCII takes one or two
    return len(text.encode()) // 4 + 1


def embeddings(request: JsonObject, topics: Topics) -> JsonObject:
    """The answer: one vector for each text, as numbers or, where the request says so, as base64 of float32."""
    dimensions = request.get("dimensions", MAX_DIMENSIONS)
    data = []
    for index, text in enumerate(texts_of(request)):
        vector = vector_of(text, dimensions, topics)
        packed = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        as_asked = packed if request.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": as_asked})
    tokens = sum(map(_tokens, texts_of(request)))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


def vector_of(text: str, dimensions: int, topics: Topics) -> list[float]:
    lowered = text.lower()
    vector = [OWN * value for value in _direction(text, dimensions)]
    for topic in topics:
        if any(word in lowered for word in topic):
            vector = [one + other for one, other in zip(vector, _direction(repr(topic), dimensions), strict=True)]
    return _unit(vector)


def _direction(seed: str, dimensions: int) -> list[float]:
    chance = random.Random(seed)
    return _unit([chance.gauss(0, 1) for _ in range(dimensions)])


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]

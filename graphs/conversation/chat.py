"""What the model reads of a conversation, as chat messages."""

import json
from collections.abc import Mapping
from typing import Any

from graphs.conversation.state import ConversationState
from recado.turns.context import is_silent

NOT_SHOWN = "[a picture that cannot be shown]"


def chat_of(prompt: str, state: ConversationState, window: int, shown: Mapping[int, str]) -> list[dict[str, Any]]:
    """The prompt, the newest `window` lines of the history, what waits for an answer, and what came of that so far.

    `shown`: the pictures of this turn as URLs, by media id.
    """
    said: list[dict[str, Any]] = [
        {"role": line["role"], "content": line["text"]} for line in state["history"][-window:]
    ]
    for message in state["incoming"]:
        if is_silent(message):
            continue
        quoting = f"[quoting {message['quoted']}] " if message["quoted"] else ""
        images = message.get("images", ())
        missing = " ".join([NOT_SHOWN] * sum(image not in shown for image in images))
        text = f"{quoting}{message['text']} {missing}".rstrip() if missing else quoting + message["text"]
        urls = [{"type": "image_url", "image_url": {"url": shown[image]}} for image in images if image in shown]
        said.append({"role": "user", "content": [{"type": "text", "text": text}, *urls] if urls else text})
    return [{"role": "system", "content": prompt}, *said, *map(_to_model, state["exchange"])]


def _to_model(message: dict[str, Any]) -> dict[str, Any]:
    """A tool call as OpenAI's wire has it: its arguments as a JSON text."""
    if not message.get("tool_calls"):
        return message
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)},
        }
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}

"""OpenAI's /v1/audio/transcriptions: reads the multipart form, refuses what it does not take, and tells what was said.

Source: platform.openai.com/docs/api-reference/audio/createTranscription.
"""

import re
from typing import Any

from tests.fakes.recorder import JsonObject

MODELS = ("gpt-4o-mini-transcribe", "gpt-4o-transcribe", "whisper-1")
ENDINGS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")

_BOUNDARY = re.compile(r'^multipart/form-data; boundary="?([^";]+)"?$')
_PARAMETER = re.compile(r'(name|filename)="([^"]*)"')


def parse_form(content_type: str, body: bytes) -> JsonObject:
    """The fields of a multipart form; a file as {filename, content_type, data}. Raises ValueError for none."""
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise ValueError(f"no multipart form: {content_type}")
    fields: JsonObject = {}
    first, *parts = body.split(b"--" + found[1].encode())
    if first or not parts or parts[-1].strip() != b"--":
        raise ValueError("the form is not complete")
    for part in parts[:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n"))
        about = dict(_PARAMETER.findall(headers["content-disposition"]))
        value = value.removesuffix(b"\r\n")
        is_file = "filename" in about
        content = {"filename": about.get("filename"), "content_type": headers.get("content-type"), "data": value}
        fields[about["name"]] = content if is_file else value.decode()
    return fields


def transcription_refusal(form: JsonObject) -> JsonObject | None:
    """Why OpenAI would refuse this form, as `error` fields."""
    if form.get("model") not in MODELS:
        return {"name": "model_not_found"}
    file: Any = form.get("file")
    if not isinstance(file, dict) or file["filename"].rpartition(".")[2] not in ENDINGS:
        return _bad(f"Invalid file format. Supported formats: {list(ENDINGS)}")
    if not file["data"]:
        return _bad("Audio file is empty.")
    if not re.fullmatch("[a-z]{2}", form.get("language", "es")):
        return _bad("Invalid language. Language parameter must be specified in ISO-639-1 or ISO-639-3 format.")
    if form.get("response_format", "json") != "json":
        return _bad("response_format is not compatible with model")
    return None


def _bad(message: str) -> JsonObject:
    return {"status": 400, "type": "invalid_request_error", "message": message, "param": None, "code": None}


def recorded(form: JsonObject) -> JsonObject:
    """A form as it can be written to a log."""
    file = form.get("file")
    if not isinstance(file, dict):
        return form
    return {**form, "file": {**file, "data": file["data"].hex()}}

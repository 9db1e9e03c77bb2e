"""No secret, phone number or word of a person's gets into a log line, wherever it stands in what is logged."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from recado.telemetry.masking import Masking

TRACE = "0123456789abcdef0123456789abcdef"
OWN = ("k9$secret/of our+own", "correct horse battery", "quo\"ted\\se'cret")
URL = "https://x.example/"
SAFE = st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="0123456789")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TOKEN = st.text(LETTERS + "0123456789", min_size=20, max_size=40)
DIGITS = st.text("0123456789", min_size=10, max_size=15)
HEX = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda token: token != TRACE)
APART = st.sampled_from([" ", "\n", '"', "'", "=", ":", "(", ",", "/", "&", "?", "%3D", "%20", "\\n", "<", "…"])


@dataclass
class Thing:
    """What has no form of its own in a log."""

    value: Any


def secrets() -> st.SearchStrategy[tuple[str, str]]:
    """(a secret, the text that it comes in)."""

    def within(form: str, token: st.SearchStrategy[str] = TOKEN) -> st.SearchStrategy[tuple[str, str]]:
        return token.map(lambda secret: (secret, form.format(secret)))

    return st.one_of(
        within("Bearer {}"),
        within("basic {}"),
        within("Authorization: Bearer {}"),
        within("sk-{}"),
        within("sk-proj-{}"),
        within("EAA{}"),
        within("IGAA{}"),
        within("lin_api_{}"),
        within("rcd_{}"),
        within("xoxb-{}"),
        within("{}", HEX),
        within(URL + "?access_token={}&v=1"),
        within(URL + "?a=1&signature={}"),
        within(URL + "?x=%26access_token%3D{}"),
        within("https://discord.com/api/webhooks/123456789/{}"),
        within("https://discord.com/api/v10/webhooks/123456789/{}?wait=true"),
        within("https://hooks.slack.com/services/T0/B0/{}"),
        within("postgresql+psycopg://recado:{}@db:5432/recado"),
        within("redis://:{}@cache:6379/0"),
        within("{{'auth_token': '{}'}}"),
        within('{{"app_secret":"{}"}}'),
        within("X-Twilio-Signature: {}"),
        within("x-hub-signature-256: sha256={}"),
        within("password={}"),
    )


def phones() -> st.SearchStrategy[tuple[str, str]]:
    """(the digits, a phone number that has them)."""
    return st.one_of(
        DIGITS.map(lambda digits: (digits, f"+{digits}")),
        DIGITS.map(lambda digits: (digits, digits)),
        DIGITS.map(lambda digits: (digits, f"whatsapp:+{digits}")),
        DIGITS.map(lambda digits: (digits, f"%2B{digits}")),
        DIGITS.map(lambda digits: (digits[-4:], f"+{digits[:2]} {digits[2:5]} {digits[5:]}")),
        DIGITS.map(lambda digits: (digits[-4:], f"+{digits[:1]} ({digits[1:4]}) {digits[4:7]}-{digits[7:]}")),
    )


def positions(text: str) -> dict[str, Any]:
    """Everywhere that something can be in what is logged."""
    thing = Thing(text)
    return {
        "event": f"it failed: {text}",
        "error": text,
        "deep": {"list": [1, {"tuple": (text, [text])}], text: {"key": text}},
        "thing": thing,
        "failed": ValueError(text),
        "raw": text.encode(),
        "all": {text},
        "cycle": ring(text),
    }


def ring(value: Any) -> list[Any]:
    found: list[Any] = [value]
    found.append(found)
    return found


def line(masking: Masking, entry: dict[str, Any]) -> str:
    """The line in the log, as it reads."""
    rendered = structlog.processors.JSONRenderer(ensure_ascii=False)(None, "info", masking(None, "info", entry))
    assert "\n" not in str(rendered)
    json.loads(rendered)
    return str(rendered)


@given(secrets(), st.text(SAFE), APART, st.sampled_from(["", " ", "\n", '"', "'", ")"]), st.booleans())
def test_no_secret_passes(secret: tuple[str, str], before: str, apart: str, after: str, masked: bool) -> None:
    token, form = secret
    assume(token not in before)
    masking = Masking(OWN, masked=masked)
    for key, value in positions(f"{before}{apart}{form}{after}").items():
        assert token not in line(masking, {key: value, "trace_id": TRACE}), key


@given(st.sampled_from(OWN), st.text(SAFE), st.text(SAFE), st.booleans())
def test_no_secret_of_the_settings_passes_in_any_form(secret: str, before: str, after: str, masked: bool) -> None:
    masking = Masking(OWN, masked=masked)
    for form in (secret, quote(secret, safe=""), repr(secret), json.dumps(secret)):
        for key, value in positions(f"{before}{form}{after}").items():
            shown = line(masking, {key: value})
            assert secret not in shown, key
            assert json.dumps(secret)[1:-1] not in shown, key
            assert quote(secret, safe="") not in shown, key


@given(phones(), st.text(SAFE), APART, st.sampled_from(["", " ", "\n", ".", ",", ".Next", ")", "@c.us"]))
def test_no_phone_number_passes(phone: tuple[str, str], before: str, apart: str, after: str) -> None:
    digits, form = phone
    for key, value in positions(f"{before}{apart}{form}{after}").items():
        assert digits not in line(Masking(), {key: value}), key


@given(st.integers(10**9, 10**15 - 1))
def test_a_phone_number_that_is_a_number_does_not_pass(number: int) -> None:
    assert str(number) not in line(Masking(), {"phone": number, "more": [number, {"n": number}]})


@pytest.mark.parametrize(
    "key", ["text", "body", "content", "payload", "question", "answer", "name", "transcript", "Lead-Name", "reply_text"]
)
@given(words=st.one_of(st.text("añ¿x ", min_size=3), st.binary(min_size=3), st.lists(st.text("xyz", min_size=3))))
def test_words_show_how_much_they_are(key: str, words: Any) -> None:
    unit = {str: "characters", bytes: "bytes", list: "entries"}[type(words)]
    expected = f"[{len(words)} {unit}]"
    assert Masking()(None, "", {key: words, "in": {key: words}, "of": [{key: words}]}) == {
        key: expected,
        "in": {key: expected},
        "of": [{key: expected}],
    }


def test_unmasked_shows_people_and_their_words_but_no_secrets() -> None:
    entry = {"text": "hola +51900000001", "phone": "+51900000001", "token": "abc", "url": f"{URL}?access_token=abc"}
    shown = {"token": "[secret]", "url": f"{URL}?access_token=[secret]"}
    assert Masking(masked=False)(None, "", dict(entry)) == entry | shown


@pytest.mark.parametrize("key", ["auth_token", "Authorization", "password", "x-api-key", "app_secret", "credentials"])
@pytest.mark.parametrize("value", ["short", ["a", "b"], {"a": "b"}, b"bytes", 12])
def test_what_is_under_the_name_of_a_secret_is_one(key: str, value: Any) -> None:
    expected = "[secret]"
    assert Masking(masked=False)(None, "", {key: value, "in": {key: value}}) == {key: expected, "in": {key: expected}}
    assert Masking()(None, "", {key: None}) == {key: None}


def test_what_a_model_gave_is_not_in_the_exception_about_it() -> None:
    said = (
        "1 validation error for Reply\nmessage\n  Field required [type=missing, input_value={'m': 'Hola Ana'}, "
        'input_type=dict]\nFailed to parse Reply from completion {"m": "Hola Ana"}. Got: 1 validation error'
    )
    shown = Masking()(None, "", {"exception": said})["exception"]
    assert "Hola" not in shown
    assert shown.count("[hidden]") == 2
    assert "Field required" in shown


@pytest.mark.parametrize(
    "kept",
    [
        {"event": "turn done", "turn_id": 12, "seconds": 0.123456789012, "draft": True, "trace_id": TRACE},
        {"event": f"see https://traces.example/{TRACE}", "trace_id": TRACE},
        {"event": "alert told", "trace": f"https://traces.example/t/{TRACE}?tab=1", "title": "Turn failed for good"},
        {"error": "HTTP 429 from api.twilio.com: Too many requests (20429)"},
        {"error": "refused a post with a wrong signature: is app_secret that of Meta's app?"},
        {"error": "task-management of disk-usage is a basic need"},
        {"sid": "SM00000000000000000000000000001234", "at": "2026-05-01T12:00:00.123456+00:00"},
        {"url": "http://127.0.0.1:8000/webhooks/meta", "tokens_in": 1200, "provider_code": "63016"},
        {"nothing": None, "job": "request_notification_job", "key": "turn:123456789", "fingerprint": TRACE},
    ],
)
def test_what_is_neither_stays(kept: dict[str, Any]) -> None:
    assert Masking(OWN)(None, "", dict(kept)) == kept


def test_what_cannot_be_shown_does_not_end_the_work() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    deep: Any = "+51900000001"
    for _ in range(50):
        deep = [deep]
    shown = line(Masking(), {"broken": Broken(), "deep": deep, "keys": {(1, 2): "a", Broken(): "b"}, "odd": "\ud800"})
    assert "<Broken>" in shown
    assert "900000" not in shown

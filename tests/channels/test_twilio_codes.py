"""Each code of Twilio's has a meaning, at once and as that of a message which could not be delivered."""

import json

import pytest

from recado.channels.base import StatusUpdate
from recado.channels.twilio.codes import CODES
from recado.channels.twilio.forms import parse
from recado.channels.twilio.http import refusal
from recado.errors import (
    AccountRefused,
    MarketingStopped,
    OptedOut,
    Permanent,
    Retryable,
    SendError,
    TemplateRefused,
    WindowClosed,
)

MEANINGS: dict[type[SendError], str] = {
    Retryable: "20429 20500 20503 21702 30001 30008 63010 63012 63017 63018 63037",
    AccountRefused: "10001 20003 20005 20006 20008 20403 21212 21606 21660 21701 21703 21704 21705 30002 63001 63002 "
    "63007 63008 63020 63038 63051",
    WindowClosed: "63016",
    TemplateRefused: "21654 21655 21656 63013 63021 63027 63028 63029 63030 63032 63040 63041 63042 63049 63052 "
    "92005 92006",
    OptedOut: "21610",
    MarketingStopped: "63033",
    Permanent: "20404 21211 21408 21602 21603 21604 21614 21617 21619 21620 21623 21910 30003 30005 30007 63003 63005 "
    "63006 63009 63014 63015 63019 63024 63026 63031 63034 92001 92004",
}
TABLE = [(int(code), kind) for kind, codes in MEANINGS.items() for code in codes.split()]


def test_the_table_is_whole() -> None:
    assert sorted(code for code, _ in TABLE) == sorted(CODES)


@pytest.mark.parametrize(("code", "kind"), TABLE)
def test_a_code_at_once(code: int, kind: type[SendError]) -> None:
    error = refusal(400, json.dumps({"code": code, "message": "said so", "status": 400}), {})
    assert type(error) is kind
    assert (error.code, error.remedy) == (str(code), CODES[code].remedy)
    assert str(error) == f"Twilio {code}: {CODES[code].why} (said so)"
    assert error.remedy
    assert not getattr(error, "ambiguous", False)


@pytest.mark.parametrize(("code", "kind"), TABLE)
def test_a_code_of_what_was_not_delivered(code: int, kind: type[SendError]) -> None:
    update = parse(f"MessageSid=SM1&MessageStatus=undelivered&ErrorCode={code}".encode())
    assert update == StatusUpdate("SM1", "failed", None, str(code), CODES[code].why, kind, CODES[code].remedy)


@pytest.mark.parametrize(
    ("status", "text", "kind", "code", "said"),
    [
        (400, '{"code": 99999, "message": "new"}', Permanent, "99999", "new"),
        (503, '{"code": 99999, "message": "new"}', Retryable, "99999", "new"),
        (429, "", Retryable, "429", ""),
        (401, "<html>", AccountRefused, "20003", ""),
        (404, '{"type": "…/20404", "title": "Gone", "status": 404, "code": 20404}', Permanent, "20404", "Gone"),
        (400, '{"code": 21211, "title": "No", "detail": "at length", "status": 400}', Permanent, "21211", "at length"),
        (400, '{"code": "21211"}', Permanent, "400", ""),
        (400, '{"code": -1}', Permanent, "400", ""),
        (400, "[]", Permanent, "400", ""),
        (500, "\ufffd", Retryable, "500", ""),
    ],
)
def test_answers_of_every_form(status: int, text: str, kind: type[SendError], code: str, said: str) -> None:
    error = refusal(status, text, {})
    assert type(error) is kind
    assert error.code == code
    assert str(error).endswith(f"({said})") == bool(said)
    assert getattr(error, "ambiguous", False) == (status >= 500)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("99999999", 3_600.0), ("-1", None), ("²", None), ("", None), ("Sat, 21 Nov 2026", None)],
)
def test_when_to_come_again(header: str, seconds: float | None) -> None:
    error = refusal(429, "{}", {"Retry-After": header})
    assert isinstance(error, Retryable)
    assert error.retry_after == seconds


def test_nobodys_number_is_repeated() -> None:
    said = "The 'To' number whatsapp:+51911111111 is not a valid phone number, nor is 14155238886."
    error = refusal(400, json.dumps({"code": 21211, "message": said}), {})
    assert "1111111" not in str(error)
    assert "4155238" not in str(error)
    update = parse(b"MessageSid=SM1&MessageStatus=failed&ErrorCode=21211&ErrorMessage=to+%2B51911111111")
    assert isinstance(update, StatusUpdate)
    assert "1111111" not in (update.error or "")

"""What looking at accounts of Meta's two channels has in common: tokens, webhooks and JSON that may be anything."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from recado.channels.management import SOON_DAYS, Check, Expected, shown_url

WEBHOOK = "/webhooks/meta"
_RENEW = "make a new token (of a system user, without an end), put it into the YAML's variable and `recado apply`"


def token_checks(answer: Mapping[str, Any], scopes: Iterable[str], now: datetime) -> list[Check]:
    """What `/debug_token` says of a token: whether it is valid, until when, and for what.

    https://developers.facebook.com/docs/graph-api/reference/debug_token: times are Unix seconds, 0 is never.
    """
    data = of(answer, "data")
    if not data.get("is_valid"):
        return [Check(False, "the access token is not valid", _RENEW)]
    granted = data.get("scopes")
    lacking = [scope for scope in scopes if scope not in (granted if isinstance(granted, list) else ())]
    checks = [_end_check(data, now)]
    if lacking:
        remedy = "make a token with these permissions: the app and the system user need both of them"
        checks.append(Check(False, f"the access token lacks {', '.join(lacking)}", remedy))
    return checks


def webhook_check(url: object, expected: Expected) -> Check:
    """Whether Meta posts to us."""
    wanted = expected.url(WEBHOOK)
    if url == wanted:
        return Check(True, f"Meta posts to {wanted}")
    remedy = f"set the callback URL to {wanted} under Webhooks of the app, or correct PUBLIC_BASE_URL"
    return Check(False, f"Meta posts to {shown_url(url)}", remedy)


def of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key, empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def rows(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects of a list of the Graph API."""
    data = answer.get("data")
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


def _end_check(data: Mapping[str, Any], now: datetime) -> Check:
    ends = [value for name in ("expires_at", "data_access_expires_at") if (value := _time(data.get(name)))]
    if not ends:
        return Check(True, "the access token is valid and has no end")
    end = min(ends)
    text = f"the access token is valid until {end:%Y-%m-%d %H:%M} UTC"
    if end <= now:
        return Check(False, f"the access token ended at {end:%Y-%m-%d %H:%M} UTC", _RENEW)
    return Check(True, text, _RENEW if end - now < timedelta(days=SOON_DAYS) else "")


def _time(seconds: object) -> datetime | None:
    if not isinstance(seconds, int) or not 0 < seconds < 2**35:
        return None
    return datetime.fromtimestamp(seconds, UTC)

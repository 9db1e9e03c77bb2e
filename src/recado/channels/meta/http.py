"""What the adapters of Meta's two channels share: the failures of the Graph API, and where it keeps files."""

import math
import re
from collections.abc import Mapping

import httpx

from recado.channels.download import Trusted
from recado.channels.meta.codes import meaning
from recado.errors import Retryable, SendError
from recado.text import clean_text, mask_phone, shorten

GRAPH_URL = "https://graph.facebook.com"
MEDIA_HOSTS = frozenset(
    {"graph.facebook.com", "lookaside.fbsbx.com", ".fbcdn.net", ".whatsapp.net", ".cdninstagram.com"}
)
"""Where Meta keeps what people sent: its media API answers with addresses at these."""
LONGEST_SAID = 300
LONGEST_WAIT = 3_600.0
SETTLING = 5.0
"""Seconds until Meta can be asked, or has told, whether it took a message all the same."""
_NUMBER = re.compile(r"\+?\d{7,}")


def trusted(base_url: str) -> Trusted:
    """The hosts from which a file may come; `base_url`, where it is set, stands for all of them."""
    return Trusted(MEDIA_HOSTS, base_url)


def refused(
    provider: str,
    status: int,
    code: int | None,
    said: str,
    *,
    subcode: int | None = None,
    headers: Mapping[str, str] | None = None,
    secret: str = "",
) -> SendError:
    """The error for an answer of the Graph API. `said` are its words, from which `secret` and numbers are taken out.

    After a 5xx the message may be on its way all the same.
    """
    meant = meaning(code, subcode, status)
    words = said.replace(secret, "…") if secret else said
    words = shorten(_NUMBER.sub(lambda found: mask_phone(found[0]), clean_text(words)), LONGEST_SAID)
    ambiguous = status >= 500
    wait = retry_after(headers or {})
    wait = SETTLING if wait is None and ambiguous else wait
    more = {"retry_after": wait, "ambiguous": ambiguous} if _may_pass(meant.error) else {}
    shown = status if code is None else code
    return meant.to_error(provider, shown, words, **more)


def _may_pass(error: type[SendError]) -> bool:
    return issubclass(error, Retryable)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """When to come again, in seconds, where the answer says so in a number that can be."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_WAIT) if math.isfinite(seconds) and seconds >= 0 else None


def unanswered(provider: str, error: Exception) -> Retryable:
    """The error for a request without an answer that can be read.

    Without a connection nothing was taken; in every other case it may have been.
    """
    reached = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError))
    if reached:
        return Retryable(f"no answer from {provider}: {type(error).__name__}", ambiguous=True, retry_after=SETTLING)
    return Retryable(f"cannot connect to {provider}: {type(error).__name__}")

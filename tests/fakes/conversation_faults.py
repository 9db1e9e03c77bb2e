"""How the conversation API's stand-in misbehaves on demand; see `conversation_api`."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from tests.fakes.conversation_operations import OPERATIONS
from tests.fakes.recorder import JsonObject


@dataclass(kw_only=True)
class Fault:
    """What befalls the next `times` requests (None: all, until cleared) of these `operations` (none named: all).

    Before the request is processed: `latency` seconds pass; `hang` holds it until it is released, or its caller goes
    away; `cut="before"` closes the connection; `status` (429 has `Retry-After: retry_after`), `html` (the 404 of a
    wrong route), `envelope_error` (HTTP 200 with type "3"), `redirect` (302) or `too_large` (413) answers instead.
    After it has been processed: `cut="after"` closes the connection, `garbage` answers 200 with half of the JSON.
    `share` of the requests, by a random generator with `seed`, are hit; the others neither count for `times`.
    """

    latency: float = 0.0
    status: int | None = None
    retry_after: float = 1
    html: bool = False
    hang: bool = False
    cut: Literal["before", "after"] | None = None
    envelope_error: bool = False
    garbage: bool = False
    redirect: bool = False
    too_large: bool = False
    operations: Sequence[str] = ()
    times: int | None = None
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.operations) - OPERATIONS)
        if unknown:
            raise ValueError(f"unknown operations: {unknown}; there are {sorted(OPERATIONS)}")
        if self.cut not in (None, "before", "after"):
            raise ValueError(f"cut is before or after, not {self.cut!r}")
        self._random = random.Random(self.seed)
        self._left = self.times

    def __str__(self) -> str:
        """What it does in one word or two, for the record of the request."""
        if self.cut:
            return f"cut {self.cut}"
        words = [word for word in ("hang", "html", "envelope_error", "garbage", "redirect", "too_large")]
        named = [word for word in words if getattr(self, word)]
        if self.status:
            named.append(f"status {self.status}")
        if self.latency:
            named.append("late")
        return " ".join(named) or "ok"

    def hits(self, operation: str) -> bool:
        if self._left == 0 or (self.operations and operation not in self.operations):
            return False
        if self.share < 1 and self._random.random() >= self.share:
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def answer(self, not_found: Response) -> Response | None:
        """What is answered in place of the API's own answer; `not_found` is the 404 of a wrong route."""
        if self.html:
            return not_found
        if self.too_large:
            return too_large()
        if self.redirect:
            return RedirectResponse("/login", status_code=302)
        if self.envelope_error:
            return envelope("3", "Something went wrong", None, 200)
        return self._failure() if self.status else None

    def _failure(self) -> Response:
        status = self.status or 500
        if status == 429:
            headers = {"Retry-After": f"{self.retry_after:g}"}
            return JSONResponse({"error": "Too many requests"}, status_code=status, headers=headers)
        if status > 500:
            return HTMLResponse(f"<html><body><h1>{status}</h1></body></html>", status_code=status)  # a proxy's own
        return envelope("3", "Internal server error", None, status)


NO_FAULT = Fault()


class Faults:
    """All that are on; the first that hits a request decides."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, operation: str) -> Fault:
        with self._lock:
            return next((fault for fault in self._faults if fault.hits(operation)), NO_FAULT)


def envelope(kind: str, message: str, data: JsonObject | None, status: int = 200) -> Response:
    return JSONResponse({"type": kind, "message": message, "data": data}, status_code=status)


def html(text: str, status: int) -> Response:
    """An error as Express words it where no handler of the API's own has seen it."""
    page = f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<title>Error</title>\n</head>\n<body>\n<pre>{text}</pre>\n'
    return HTMLResponse(f"{page}</body>\n</html>\n", status_code=status)


def too_large() -> Response:
    return html("PayloadTooLargeError: request entity too large", 413)


def half(response: Response) -> Response:
    """The same answer, broken off in the middle of its JSON."""
    body = bytes(response.body)
    return Response(body[: len(body) // 2], media_type="application/json")

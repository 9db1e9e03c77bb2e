"""A local host of files: says what it is told, redirects, breaks off, and remembers who asked for what."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.server import CutResponse, Fake

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c626001000000ffff"
    "03000006000557bfabd40000000049454e44ae426082"
)
OGG = b"OggS\x00\x02" + bytes(8) + b"\x01" + bytes(7) + b"abcd\x01\x13OpusHead\x01\x01" + bytes(64)
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"
HTML = b"<!DOCTYPE html><html><head><script>alert(1)</script></head><body></body></html>"


@dataclass
class Served:
    """One answer. `streamed` says nothing of its length; `cut_after`: only so many bytes; `hold` until released."""

    body: bytes = b""
    content_type: str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    streamed: bool = False
    cut_after: int | None = None
    hold: str | None = None


class FileHost(Fake):
    """`serve(path, answer, …)`: the answers of a path one after the other, the last of them for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[str, list[Served]] = {}

    def serve(self, path: str, *answers: Served) -> str:
        """The path's URL here."""
        self._answers[path] = list(answers)
        return f"{self.url}{path}"

    def asked(self) -> list[str]:
        """The paths that were asked for."""
        return [entry["path"] for entry in self.requests.entries("file")]

    def headers_of(self, path: str) -> dict[str, str]:
        """The headers of the last request for a path."""
        return [entry["headers"] for entry in self.requests.entries("file") if entry["path"] == path][-1]  # type: ignore[no-any-return]

    def routes(self) -> list[Route]:
        return [Route("/{path:path}", self._file, methods=["GET"])]

    def apply_script(self, script: Any) -> None:
        raise NotImplementedError

    def not_found(self, request: Request) -> Response:
        return PlainTextResponse("none", 404)

    async def _file(self, request: Request) -> Response:
        answers = self._answers.get(request.url.path, [])
        self.record(request, "file", None, str(len(answers)))
        if not answers:
            return self.not_found(request)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.hold and not await self.gates.hold(answer.hold):
            return CutResponse()
        headers = {**({"content-type": answer.content_type} if answer.content_type else {}), **answer.headers}
        if answer.cut_after is not None:
            return CutResponse(answer.body[: answer.cut_after])
        if answer.streamed:
            return StreamingResponse(_pieces(answer.body), answer.status, headers)
        return Response(answer.body, answer.status, headers)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1_000):
        yield body[start : start + 1_000]
        await asyncio.sleep(0)


def redirect(to: str, status: int = 302) -> Served:
    """An answer that leads elsewhere."""
    return Served(status=status, headers={"location": to})

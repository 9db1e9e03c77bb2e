"""A local collector of OpenTelemetry: `POST /v1/traces`, OTLP over HTTP as protobuf.

(https://opentelemetry.io/docs/specs/otlp/#otlphttp: what is answered, and how failures look.)
`POST /_script` takes {status?, latency?, hold?, hang?, cut?}: how requests are met from then on.
In a test: `with running(OtlpCollector()) as collector`. As a process: `python -m tests.fakes.otlp_collector --port N`.
"""

import argparse
import gzip
from typing import Any

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.recorder import JsonObject
from tests.fakes.server import CutResponse, Fake, argument_parser, serve_forever

PROTOBUF = "application/x-protobuf"
BEHAVIOUR = {"status", "latency", "hold", "hang", "cut"}
FAILED = 2
"""STATUS_CODE_ERROR."""


class OtlpCollector(Fake):
    """Takes spans, or misbehaves."""

    path = "/v1/traces"

    def __init__(self, log: Any = None) -> None:
        super().__init__(log)
        self.behaviour: JsonObject = {}

    def routes(self) -> list[Route]:
        return [Route(self.path, self._traces, methods=["POST"])]

    def apply_script(self, script: Any) -> None:
        if unknown := set(script) - BEHAVIOUR:
            raise ValueError(f"unknown words in script: {sorted(unknown)}")
        self.behaviour = script

    def reset(self) -> None:
        super().reset()
        self.behaviour = {}

    def not_found(self, request: Request) -> Response:
        return Response(status_code=404)

    def spans(self, trace_id: str | None = None) -> list[JsonObject]:
        """The spans that were taken, oldest first by their beginning; only those of one trace."""
        taken = [entry for entry in self.requests.entries("traces") if entry["outcome"] == "200"]
        found = [span for entry in taken for span in entry["body"] if trace_id in (None, span["trace_id"])]
        return sorted(found, key=lambda span: span["start"])

    def refusal(self, request: Request) -> int | None:
        """The status with which a request is refused for what it carries."""
        return None

    async def _traces(self, request: Request) -> Response:
        raw = await request.body()
        behaviour = self.behaviour
        status = self.refusal(request) or behaviour.get("status", 200)
        spans = spans_of(raw, request.headers.get("content-encoding", ""))
        pauses = next((word for word in ("hold", "hang", "cut") if behaviour.get(word)), None)
        self.record(request, "traces", spans, pauses if pauses in {"hang", "cut"} else str(status))
        if not await self.pause(behaviour) or behaviour.get("cut"):
            return CutResponse()
        said = ExportTraceServiceResponse() if status == 200 else Status(message="refused")
        return Response(said.SerializeToString(), status_code=status, media_type=PROTOBUF)


def spans_of(raw: bytes, encoding: str = "") -> list[JsonObject]:
    """The spans of a request as plain data: {trace_id, span_id, parent_id, name, kind, start, end (epoch seconds),
    attributes, links (trace ids), failed, status, resource, scope}."""
    request = ExportTraceServiceRequest.FromString(gzip.decompress(raw) if encoding == "gzip" else raw)
    return [
        _plain(span) | {"resource": _attributes(several.resource.attributes), "scope": scoped.scope.name}
        for several in request.resource_spans
        for scoped in several.scope_spans
        for span in scoped.spans
    ]


def _plain(span: Span) -> JsonObject:
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex() or None,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "start": span.start_time_unix_nano / 1e9,
        "end": span.end_time_unix_nano / 1e9,
        "attributes": _attributes(span.attributes),
        "links": [link.trace_id.hex() for link in span.links],
        "failed": span.status.code == FAILED,
        "status": span.status.message,
    }


def _attributes(found: Any) -> JsonObject:
    return {attribute.key: _value(attribute.value) for attribute in found}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def _from_arguments(args: argparse.Namespace) -> OtlpCollector:
    return OtlpCollector(log=args.log)


if __name__ == "__main__":
    serve_forever(_from_arguments, argument_parser("A local collector of OpenTelemetry"))

"""A collector of traces on the official OTLP stubs, which keeps what it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Tree = dict[str, Any]
"""The names of the spans within a span, each with those within it."""


class OtlpCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """In a test: ``with OtlpCollector() as collector:`` and its ``endpoint`` in the settings."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, _: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        with self._lock:
            for of_resource in request.resource_spans:
                self.resource |= attributes(of_resource.resource)
                for of_scope in of_resource.scope_spans:
                    self.spans += of_scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {
        entry.key: getattr(entry.value, entry.value.WhichOneof("value") or "") for entry in holder.attributes
    }


def tree(spans: list[Span]) -> Tree:
    """The names of spans of one trace by who is within whom; asserts that there is one root.

    Children of one name share an entry, so that a tree says nothing about how often a step was made.
    """
    known = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_span_id not in known]
    assert len({span.trace_id for span in spans}) == 1
    assert len(roots) == 1, [span.name for span in roots]

    def below(parent: Span) -> Tree:
        return {span.name: below(span) for span in spans if span.parent_span_id == parent.span_id}

    return {roots[0].name: below(roots[0])}

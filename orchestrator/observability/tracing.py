"""Traces by OpenTelemetry, sent to a collector over OTLP; off, and not imported, unless one is set.

A request is one tree: the edge opens its root (:class:`RequestSpan`), each ``stage()`` is a child, and so is
each call of another service (:func:`client_call`). Whatever happens outside of a traced request, such as a
probe, is no trace. Spans carry names, durations and outcomes alone: no image, no address, no header, no text
of an error, and of what a caller sends only the identity of the trace that the request is part of. For this
reason nothing is instrumented automatically: that exports paths, queries and messages of exceptions.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACEPARENT: Final = "traceparent"
"""The header of W3C Trace Context. Its companion ``tracestate`` has room for 512 characters of anything, and
is dropped."""

SERVICE_NAME: Final = "wbc-orchestrator"

Metadata = tuple[tuple[str, str], ...]

_FLUSH_S: Final = 3.0
"""How long the end of the process waits for a collector to take the last spans."""

_EXPORT_S: Final = 5.0

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_tracer: "Tracer | None" = None


@contextmanager
def exported_traces(
    endpoint: str | None, *, service_version: str, sample_share: float = 1.0
) -> Iterator[None]:
    """Trace what runs within, and send the spans to the collector at ``endpoint``; none where None.

    Args:
        endpoint: ``http://host:port`` of its gRPC, or ``https://``.
        service_version: stands in every span; ``OTEL_RESOURCE_ATTRIBUTES`` adds to it.
        sample_share: of the traces that begin here, from 0 to 1; for those that a caller begins, they choose.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield
        return
    global _tracer  # as OpenTelemetry itself has one for the process: stages are everywhere
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise ConfigurationError(
            "WBC_TRACING__ENDPOINT: expected OpenTelemetry with it: pip install 'wbc-analyzer[tracing]'"
        ) from error
    exporter = OTLPSpanExporter(
        endpoint=endpoint, insecure=not endpoint.startswith("https://"), timeout=_EXPORT_S
    )
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_share)),
        resource=Resource.create({"service.name": SERVICE_NAME, "service.version": service_version}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("orchestrator", service_version)
    try:
        yield
    finally:
        _tracer = None
        # It would wait for half a minute for a collector that is gone.
        flushing = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_S)
        if flushing.is_alive():
            exporter.shutdown(0)


def current_trace_id() -> str:
    """The trace, in 32 hexadecimal digits, that this code is part of; empty where none is recorded."""
    context = _current_span_context()
    return f"{context.trace_id:032x}" if context else ""


def current_span_id() -> str:
    """The span, in 16 hexadecimal digits, that this code runs in; empty where none is recorded."""
    context = _current_span_context()
    return f"{context.span_id:016x}" if context else ""


@contextmanager
def span(name: str) -> Iterator[None]:
    """One step of a request; without effect where there is no traced request."""
    if _tracer is None or _current_span_context() is None:
        yield
        return
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as opened:
        try:
            yield
        except BaseException as error:
            _failed(opened, type(error).__qualname__)
            raise


def past_span(name: str, began_ns: int, seconds: float, error_type: str | None) -> None:
    """A step of this request that is over: it ran in another process, which sends no spans."""
    if _tracer is None or _current_span_context() is None:
        return
    opened = _tracer.start_span(name, start_time=began_ns)
    if error_type is not None:
        _failed(opened, error_type)
    opened.end(began_ns + int(seconds * 1e9))


@contextmanager
def client_call(path: str) -> Iterator[Metadata | None]:
    """One call of another service, by its gRPC ``path``; gives the metadata to send, or None."""
    if _tracer is None or _current_span_context() is None:
        yield None
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    service, method = path.strip("/").rsplit("/", 1)
    with _tracer.start_as_current_span(
        f"{service}/{method}",
        kind=SpanKind.CLIENT,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        try:
            yield ((TRACEPARENT, carrier[TRACEPARENT]),)
        except BaseException as error:
            _failed(opened, type(error).__qualname__)
            raise


class RequestSpan:
    """The root of one HTTP request's spans within this service, child of the caller's where they have one."""

    def __init__(self, opened: "Span | None", method: str) -> None:
        self._span = opened
        self._method = method

    def answered(self, status: int, route: str | None) -> None:
        """Note the status, and the route's template, never the path itself."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if route is not None:
            self._span.set_attribute("http.route", route)
            self._span.update_name(f"{self._method} {route}")
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)


@contextmanager
def request_span(method: str, traceparent: str | None) -> Iterator[RequestSpan]:
    """Frame one HTTP request; ``traceparent`` is the caller's header."""
    method = method if method in _METHODS else "HTTP"
    if _tracer is None:
        yield RequestSpan(None, method)
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        method,
        context=_remote_context(traceparent),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method},
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield RequestSpan(opened, method)
        except BaseException as error:
            _failed(opened, type(error).__qualname__)
            raise


class CallSpan:
    """The root of one gRPC call's spans within this service."""

    def __init__(self, opened: "Span | None") -> None:
        self._span = opened

    def answered(self, code: int, *, failed: bool) -> None:
        """Note the status; ``failed`` where the caller is not to blame for it."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("rpc.grpc.status_code", code)
        if failed:
            self._span.set_status(StatusCode.ERROR)


@contextmanager
def call_span(path: str, traceparent: str | None) -> Iterator[CallSpan]:
    """Frame one gRPC call of this service, by its ``path``; ``traceparent`` is the caller's metadata."""
    if _tracer is None:
        yield CallSpan(None)
        return
    from opentelemetry.trace import SpanKind

    service, method = path.strip("/").rsplit("/", 1)
    with _tracer.start_as_current_span(
        f"{service}/{method}",
        context=_remote_context(traceparent),
        kind=SpanKind.SERVER,
        attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        record_exception=False,
        set_status_on_exception=False,
    ) as opened:
        try:
            yield CallSpan(opened)
        except BaseException as error:
            _failed(opened, type(error).__qualname__)
            raise


def _remote_context(traceparent: str | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: Mapping[str, str] = {} if traceparent is None else {TRACEPARENT: traceparent}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _current_span_context() -> Any:
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return context if context.is_valid and context.trace_flags.sampled else None


def _failed(opened: "Span", error_type: str) -> None:
    """The kind of an error alone: its message may quote what was sent."""
    from opentelemetry.trace import StatusCode

    opened.set_attribute("error.type", error_type)
    opened.set_status(StatusCode.ERROR)

"""Metrics, and ``stage()``: measuring frames a step in one line and never enters it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prometheus_client import Counter, Gauge, Histogram

STAGE_SECONDS = Histogram(
    "wbc_stage_duration_seconds",
    "Time that one stage of an analysis took.",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
REQUESTS = Counter("wbc_requests", "Analyses asked for, by endpoint and outcome.", ["endpoint", "outcome"])
FINDINGS = Counter(
    "wbc_findings",
    "Answered analyses by class, profile and review flag.",
    ["class_name", "profile", "review"],
)
IN_FLIGHT = Gauge("wbc_requests_in_flight", "Analyses under way.")
BATCH_ROWS = Histogram(
    "wbc_model_batch_rows", "Rows in one executed batch.", buckets=(1, 2, 4, 8, 16, 24, 32)
)
BATCH_SECONDS = Histogram(
    "wbc_model_batch_duration_seconds",
    "Time that the network took for one batch.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
QUEUE_ROWS = Gauge("wbc_model_queue_rows", "Rows that wait for the network.")
MODEL_INFO = Gauge("wbc_model_info", "The model that answers; always 1.", ["name", "version", "sha256"])

_timings_ms: ContextVar[dict[str, float] | None] = ContextVar("timings_ms", default=None)


@contextmanager
def recorded_timings() -> Iterator[dict[str, float]]:
    """Collect the durations, in milliseconds, of the stages that run within; also in worker threads that
    were given a copy of the context, as ``asyncio.to_thread`` does."""
    timings: dict[str, float] = {}
    token = _timings_ms.set(timings)
    try:
        yield timings
    finally:
        _timings_ms.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a step of an analysis, whether it succeeds or not."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        STAGE_SECONDS.labels(name).observe(seconds)
        timings = _timings_ms.get()
        if timings is not None:
            timings[name] = timings.get(name, 0.0) + seconds * 1000


class ModelServerMetrics:
    """What an embedded model server reports about its batches; written to Prometheus."""

    def batch_executed(self, rows: int, seconds: float) -> None:
        """One batch of ``rows`` rows took ``seconds`` seconds."""
        BATCH_ROWS.observe(rows)
        BATCH_SECONDS.observe(seconds)

    def queue_depth(self, rows: int) -> None:
        """``rows`` rows wait now."""
        QUEUE_ROWS.set(rows)

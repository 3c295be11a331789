"""Metrics.

Label values are words of this project or of its configuration (a stage, an outcome, a profile that exists, a
model version), never anything that a caller sends: each value is a series that lives as long as the process.
Which request it was is said by the exemplars, which a scraper gets that asks for OpenMetrics.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from orchestrator.observability import tracing
from orchestrator.observability.request_context import current_request_id
from orchestrator.observability.stages import StageTime, listen

# In OpenMetrics each counter and histogram would bring a further series: when it was created.
disable_created_metrics()  # type: ignore[no-untyped-call]

REQUEST_LOGGER: Final = logging.getLogger("orchestrator.requests")
"""One line for each request that ended; its level, and so whether, is :mod:`~.structured_logging`'s."""

STAGE_SECONDS = Histogram(
    "wbc_stage_duration_seconds",
    "Time that one stage of an analysis took.",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
REQUESTS = Counter("wbc_requests", "Analyses asked for, by endpoint and outcome.", ["endpoint", "outcome"])
REQUEST_SECONDS = Histogram(
    "wbc_request_duration_seconds",
    "Time from the arrival of a request to its answer, waiting included; of answered requests.",
    ["endpoint"],
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 15, 30),
)
FINDINGS = Counter(
    "wbc_findings",
    "Answered analyses by class, profile and review flag.",
    ["class_name", "profile", "review"],
)
REVIEW_REASONS = Counter(
    "wbc_review_reasons", "Reasons for which answered analyses ask for a review.", ["reason", "profile"]
)
CONFIDENCE = Histogram(
    "wbc_confidence",
    "Calibrated probability of the decided class.",
    ["profile"],
    buckets=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 1),
)
FOCUS_RATIO = Histogram(
    "wbc_focus_ratio",
    "Rho: share of the heatmap's mass that lies on the cell.",
    ["profile"],
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1),
)
PROFILE_FIT = Gauge(
    "wbc_profile_fit",
    "Share of the last cells of a profile that look like those of its device, 0 to 1; from 20 cells on.",
    ["profile"],
)
HEAD_SHADOW_COMPARISONS = Counter(
    "wbc_head_shadow_comparisons",
    "Images compared with a site's head in the shadow, by the class that was answered and the one it gives.",
    ["profile", "answered", "shadow"],
)
HEAD_CANARY_ANSWERS = Counter(
    "wbc_head_canary_answers",
    "Images answered while a site's head was the canary of their profile, by head (model: its own) and "
    "whether they were for review by what that head said.",
    ["profile", "head", "review"],
)
VIEWS = Histogram(
    "wbc_analyses_views",
    "Views that an answered analysis took, by test-time augmentation; adaptive stops at 1 where it is clear.",
    ["tta"],
    buckets=(1, 8),
)
REPORT_WRITES = Counter(
    "wbc_report_writes",
    "Reports asked for, by writer and outcome: ok, failed or cancelled.",
    ["writer", "outcome"],
)
REPORT_SECONDS = Histogram(
    "wbc_report_write_duration_seconds",
    "Time that a report took, whether it was written or not.",
    ["writer"],
    buckets=(0.0005, 0.001, 0.01, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 13, 20, 30),
)
REPORT_FALLBACKS = Counter(
    "wbc_report_fallbacks",
    "Times that a language model did not write a report and the next writer was asked, by reason.",
    ["writer", "reason"],
)
REPORT_TOKENS = Counter(
    "wbc_report_tokens",
    "Tokens that language models counted: prompt or completion.",
    ["writer", "kind"],
)
REPORT_COST = Counter(
    "wbc_report_cost", "Price of these tokens by the settings, in the site's currency.", ["writer"]
)
WRITER_BREAKER_STATE = Gauge(
    "wbc_report_writer_breaker_state",
    "Of the circuit breaker before a language model: 0 closed, 1 half open, 2 open.",
    ["writer"],
)
REPORT_CACHE = Counter("wbc_report_cache", "Reports looked for among those kept: hit or miss.", ["outcome"])
IN_FLIGHT = Gauge("wbc_requests_in_flight", "Analyses under way.")
IMAGE_WORKERS_LOST = Counter(
    "wbc_image_workers_lost", "Processes for images that ended, or were ended, within a step on an image."
)
BATCH_ROWS = Histogram("wbc_model_batch_rows", "Rows in one executed batch.", buckets=(1, 2, 3, 4))
BATCH_SECONDS = Histogram(
    "wbc_model_batch_duration_seconds",
    "Time that the network took for one batch.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
QUEUE_ROWS = Gauge("wbc_model_queue_rows", "Rows that wait for the network.")
MODEL_INFO = Gauge("wbc_model_info", "The model that answers; always 1.", ["name", "version", "sha256"])
ADMISSION_WAITING = Gauge("wbc_admission_waiting", "Requests that wait for a place among those under way.")
ADMISSION_REFUSED = Counter("wbc_admission_refused", "Requests refused before work, by reason.", ["reason"])
ACCESS_REFUSED = Counter(
    "wbc_access_refused",
    "Requests that were not let in, by reason: unauthenticated, forbidden, rate_limited, "
    "authentication_unavailable.",
    ["reason"],
)
TLS_FILES_REFUSED = Gauge(
    "wbc_tls_files_refused",
    "1 while the files of TLS on the disk are wrong and what they held before is still used; by edge.",
    ["edge"],
)
for _edge in ("http", "grpc"):  # at 0 from the start, also without TLS
    TLS_FILES_REFUSED.labels(_edge)
DRAINING = Gauge("wbc_draining", "1 from the signal to stop until the end of the process.")
FAILOVERS = Counter(
    "wbc_failovers", "Questions that the second model server was asked, by what failed.", ["reason"]
)
CANARY_REQUESTS = Counter("wbc_canary_requests", "Questions by who answered: stable or canary.", ["arm"])
SHADOW_COMPARISONS = Counter(
    "wbc_shadow_comparisons", "Answers that were to be compared with the shadow's, by outcome.", ["outcome"]
)
CALLS = Counter(
    "wbc_model_server_calls",
    "Calls to a remote model server, by what was asked, how it ended and which version answered.",
    ["method", "outcome", "version"],
)
CALL_SECONDS = Histogram(
    "wbc_model_server_call_duration_seconds",
    "Time that one call to a remote model server took.",
    ["method"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
RETRIES = Counter(
    "wbc_model_server_retries",
    "Retries: answered or failed, or wanted and not made (no_budget, no_time).",
    ["outcome"],
)
HEDGES = Counter(
    "wbc_model_server_hedges", "Questions asked a second time, by whether that answer was the first.", ["won"]
)
SPECIMENS = Counter(
    "wbc_specimens",
    "Specimens by what happened: ordered, repeated (an order sent again), analysed, signed or cancelled.",
    ["event"],
)
SPECIMEN_CELLS = Counter(
    "wbc_specimen_cells",
    "Cells of specimens: analysed, failed, added by a person, or retried because the model server was busy "
    "or away.",
    ["outcome"],
)
SPECIMEN_DECISIONS = Counter(
    "wbc_specimen_decisions",
    "Decisions of people about cells: accepted, changed (another class than the service's) or undone.",
    ["outcome"],
)
RETENTION_WAITS = Gauge(
    "wbc_retention_waits",
    "1 while retention removes nothing: the clock has jumped, and nobody confirmed it.",
)
SPECIMENS_UNDER_WAY = Gauge(
    "wbc_specimens_under_way", "Specimens whose cells this process analyses, or will."
)
CALL_METHODS: Final = ("classify", "explain")
CALL_FAILURES: Final = (
    "unavailable",
    "overloaded",
    "timeout",
    "contract_violation",
    "error",
    "cancelled",
    "breaker_open",
)
RETRY_OUTCOMES: Final = ("answered", "failed", "no_budget", "no_time")
"""Words of the labels that exist from the start, at 0: where nothing ever failed, a share of failures is 0
and not unknown."""

BREAKER_STATE = Gauge(
    "wbc_circuit_breaker_state",
    "0 closed, 1 half open, 2 open; by what it guards, the best one where that has several pods.",
    ["dependency"],
)
STORE_READY = Gauge("wbc_store_ready", "1 where an order could be kept at the last look.")
STORE_READY.set(1)
PODS = Gauge(
    "wbc_model_server_pods",
    "Pods of TensorFlow Serving: asked, or left_alone as they failed repeatedly.",
    ["dependency", "state"],
)

FIELD_CELLS = Histogram(
    "wbc_field_cells", "White cells of an analysed field.", buckets=(0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500)
)
FIELD_UNIDENTIFIED = Counter(
    "wbc_field_unidentified", "What was found in fields and may be no white cell; not counted."
)
FIELD_SECONDS = Histogram(
    "wbc_field_seconds",
    "Seconds that a field takes from its bytes to the classes of its cells.",
    buckets=(0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6),
)


def exemplar() -> dict[str, str] | None:
    """Which request a sample is of: its trace where it has one, else its name; None outside of one."""
    if trace_id := tracing.current_trace_id():
        return {"trace_id": trace_id}
    request_id = current_request_id()
    return {"request_id": request_id} if request_id else None


def _count(took: StageTime) -> None:
    STAGE_SECONDS.labels(took.name).observe(took.seconds, exemplar())


listen(_count)  # wherever something is counted


def record_views(tta: str, views: int) -> None:
    """Count the ``views`` of one answered analysis under the mode ``tta`` that was asked for."""
    VIEWS.labels(tta).observe(views, exemplar())


def record_finding(
    profile: str, class_name: str, confidence: float, *, reasons: Sequence[str], focus_ratio: float | None
) -> None:
    """Count what one answered analysis found. ``reasons`` are the codes of its review reasons;
    ``focus_ratio`` is None where no heatmap was asked for."""
    FINDINGS.labels(class_name, profile, str(bool(reasons)).lower()).inc(1, exemplar())
    for reason in set(reasons):
        REVIEW_REASONS.labels(reason, profile).inc(1, exemplar())
    CONFIDENCE.labels(profile).observe(confidence, exemplar())
    if focus_ratio is not None:
        FOCUS_RATIO.labels(profile).observe(focus_ratio, exemplar())


def record_field(cells: int, unidentified: int, seconds: float) -> None:
    """Count one answered field, what was found in it and what may be no white cell, and how long it took."""
    FIELD_CELLS.observe(cells, exemplar())
    FIELD_UNIDENTIFIED.inc(unidentified, exemplar())
    FIELD_SECONDS.observe(seconds, exemplar())


def request_ended(endpoint: str, outcome: str, seconds: float) -> None:
    """Count one request, and note in the log that it ended where that is asked for (``log_requests``)."""
    REQUESTS.labels(endpoint, outcome).inc(1, exemplar())
    if outcome == "ok":
        REQUEST_SECONDS.labels(endpoint).observe(seconds, exemplar())
    REQUEST_LOGGER.info("%s ended: %s, %.0f ms", endpoint, outcome, seconds * 1000)


def announce_writer(writer: str) -> None:
    """Let the series of a writer begin at 0; see :mod:`orchestrator.edge.metric_series`."""
    REPORT_SECONDS.labels(writer)
    for outcome in ("ok", "failed", "cancelled"):
        REPORT_WRITES.labels(writer, outcome)


@contextmanager
def report_written(writer: str) -> Iterator[None]:
    """Time and count one report of ``writer``, whether it is written or not."""
    started = time.perf_counter()
    outcome = "failed"
    try:
        yield
        outcome = "ok"
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        REPORT_WRITES.labels(writer, outcome).inc(1, exemplar())
        REPORT_SECONDS.labels(writer).observe(time.perf_counter() - started, exemplar())


def announce_tokens(writer: str) -> None:
    """Let a language model's tokens begin at 0."""
    REPORT_COST.labels(writer)
    for kind in ("prompt", "completion"):
        REPORT_TOKENS.labels(writer, kind)


def tokens_used(writer: str, *, prompt: int, completion: int, cost: float) -> None:
    """Count what one answer of a language model took."""
    REPORT_TOKENS.labels(writer, "prompt").inc(max(0, prompt))
    REPORT_TOKENS.labels(writer, "completion").inc(max(0, completion))
    REPORT_COST.labels(writer).inc(max(0.0, cost))


def announce_fallbacks(writer: str, reasons: Sequence[str]) -> None:
    """Let every reason for which ``writer`` may be passed over begin at 0."""
    for reason in reasons:
        REPORT_FALLBACKS.labels(writer, reason)


def report_fell_back(writer: str, reason: str) -> None:
    """Count that ``writer`` did not write, for ``reason``."""
    REPORT_FALLBACKS.labels(writer, reason).inc(1, exemplar())


def report_cached(*, hit: bool) -> None:
    """Count one look among the reports that are kept."""
    REPORT_CACHE.labels("hit" if hit else "miss").inc()


def writer_breaker(writer: str, state: int) -> None:
    """The circuit breaker before ``writer`` is in ``state`` now."""
    WRITER_BREAKER_STATE.labels(writer).set(state)


class ModelServerMetrics:
    """What an embedded model server reports about its batches; written to Prometheus."""

    def batch_executed(self, rows: int, seconds: float) -> None:
        """One batch of ``rows`` rows took ``seconds`` seconds."""
        BATCH_ROWS.observe(rows)
        BATCH_SECONDS.observe(seconds)

    def queue_depth(self, rows: int) -> None:
        """``rows`` rows wait now."""
        QUEUE_ROWS.set(rows)


class _Identity(Protocol):
    """Of :class:`orchestrator.domain.ModelIdentity`, which lies above this module, what is read here."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def sha256(self) -> str | None: ...


class TfServingMetrics:
    """What a client of TensorFlow Serving reports about its calls; written to Prometheus.

    ``dependency`` names it beside others; ``answers`` is whether callers get its answers.
    """

    def __init__(self, dependency: str = "tf_serving", *, answers: bool = True) -> None:
        self._dependency = dependency
        self._answers = answers
        for method in CALL_METHODS:
            CALL_SECONDS.labels(method)
            for outcome in CALL_FAILURES:
                CALLS.labels(method, outcome, "")
        for outcome in RETRY_OUTCOMES:
            RETRIES.labels(outcome)
        for won in (True, False):
            HEDGES.labels(str(won).lower())

    def call_ended(self, method: str, outcome: str, version: int | None, seconds: float) -> None:
        """One call ended; ``version`` is that which answered."""
        CALLS.labels(method, outcome, "" if version is None else str(version)).inc()
        if outcome != "breaker_open":  # no call at all
            CALL_SECONDS.labels(method).observe(seconds, exemplar())

    def retry_ended(self, outcome: str) -> None:
        """A retry was answered or failed, or was not made."""
        RETRIES.labels(outcome).inc()

    def hedge_ended(self, won: bool) -> None:
        """A second call ended; it was the faster one, or not."""
        HEDGES.labels(str(won).lower()).inc()

    def breaker_changed(self, state: int) -> None:
        """The circuit breaker is in ``state`` now."""
        BREAKER_STATE.labels(self._dependency).set(state)

    def pods_changed(self, asked: int, left_alone: int) -> None:
        """So many pods are asked now, and so many are not."""
        PODS.labels(self._dependency, "asked").set(asked)
        PODS.labels(self._dependency, "left_alone").set(left_alone)

    def version_changed(self, before: _Identity | None, now: _Identity) -> None:
        """Another version answers than before."""
        if not self._answers:
            return
        if before is not None:
            with suppress(KeyError):
                MODEL_INFO.remove(before.name, str(before.version), before.sha256 or "")
        MODEL_INFO.labels(now.name, str(now.version), now.sha256 or "").set(1)

"""The metrics of TensorFlow Serving by their exact names, in Prometheus' text format; times in microseconds.

Written by hand: client libraries put ``_total`` behind the names of counters, which this server does not.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate

_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"


def _exponential(scale: float, factor: float, count: int) -> list[float]:
    return [scale * factor**index for index in range(count)]


_POWERS_OF_TWO = [2.0**power for power in range(11)]

# Name -> (label names, upper bounds of the buckets); a counter has no bounds.
_METRICS: dict[str, tuple[tuple[str, ...], list[float] | None]] = {
    f"{_SERVING}request_count": (("model_name", "status"), None),
    f"{_SERVING}request_latency": (("model_name", "API", "entrypoint"), _exponential(10, 1.8, 33)),
    f"{_SERVING}runtime_latency": (("model_name", "API", "runtime"), _exponential(10, 1.8, 33)),
    f"{_SERVING}model_warmup_latency": (("model_path", "status"), _exponential(10, 1.8, 33)),
    f"{_BATCHING}queuing_latency": (("thread_pool_name",), _exponential(100, 1.2, 52)),
    # As batching_util.h has them: two without labels, and the padding by the size of the batch that runs.
    f"{_BATCHING}input_batch_size": ((), _POWERS_OF_TWO),
    f"{_BATCHING}processed_batch_size": ((), _POWERS_OF_TWO),
    f"{_BATCHING}padding_size": (("execution_batch_size",), _POWERS_OF_TWO),
    f"{_BATCHING}wrapped_run_count": ((), None),
    ":tensorflow:cc:saved_model:load_attempt_count": (("model_path", "status"), None),
    ":tensorflow:cc:saved_model:load_latency": (("model_path",), None),
    ":tensorflow:cc:saved_model:load_latency_by_stage": (("model_path", "stage"), _exponential(1, 1.8, 33)),
    ":tensorflow:core:graph_runs": ((), None),
    ":tensorflow:core:graph_run_time_usecs": ((), None),
}

NAMES = tuple(_METRICS)


class ServingMetrics:
    """Counts; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
        self._samples: dict[tuple[str, tuple[str, ...]], tuple[list[int], list[float]]] = {}

    def batching(self, name: str, value: float, size: int) -> None:
        """What is measured of a batch of ``size`` rows, padding included."""
        labels = {"queuing_latency": ("batch_threads",), "padding_size": (str(size),)}.get(name, ())
        self.observe(f"{_BATCHING}{name}", value, *labels)

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        assert _METRICS[name][1] is None
        assert len(labels) == len(_METRICS[name][0]), name
        with self._lock:
            self._counters[name, labels] += by

    def observe(self, name: str, value: float, *labels: str) -> None:
        names, bounds = _METRICS[name]
        assert bounds is not None
        assert len(labels) == len(names), name
        with self._lock:
            counts, total = self._samples.setdefault((name, labels), ([0] * (len(bounds) + 1), [0.0]))
            counts[bisect_left(bounds, value)] += 1
            total[0] += value

    def text(self) -> str:
        with self._lock:
            counters = sorted(self._counters.items())
            samples = [
                (key, list(counts), total[0]) for key, (counts, total) in sorted(self._samples.items())
            ]
        lines = []
        for name in dict.fromkeys(name for (name, _), _ in counters):
            lines.append(f"# TYPE {name} counter")
            lines += [
                f"{key}{_labels(key, labels)} {value:.0f}" for (key, labels), value in counters if key == name
            ]
        for name in dict.fromkeys(name for (name, _), _, _ in samples):
            lines.append(f"# TYPE {name} histogram")
            for (key, labels), counts, total in samples:
                if key == name:
                    lines += _histogram(name, labels, counts, total)
        return "\n".join([*lines, ""])


def _histogram(name: str, labels: tuple[str, ...], counts: list[int], total: float) -> list[str]:
    bounds = _METRICS[name][1] or []
    ends = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    lines = [
        f"{name}_bucket{_labels(name, labels, end)} {up_to}"
        for end, up_to in zip(ends, accumulate(counts), strict=True)
    ]
    return [
        *lines,
        f"{name}_sum{_labels(name, labels)} {total:.0f}",
        f"{name}_count{_labels(name, labels)} {sum(counts)}",
    ]


def _labels(name: str, values: tuple[str, ...], le: str | None = None) -> str:
    pairs = [*zip(_METRICS[name][0], values, strict=True), *([("le", le)] if le else [])]
    return "{" + ",".join(f'{label}="{value}"' for label, value in pairs) + "}"

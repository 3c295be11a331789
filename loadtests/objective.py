"""The service level objective of ``slo.toml``, and whether a run met it."""

import csv
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SLO_FILE: Final = Path(__file__).with_name("slo.toml")
AGGREGATED: Final = "Aggregated"
"""All requests, as Locust calls them."""
TIMES_FILE: Final = "load_times.csv"
"""Each request of a run: its kind, what it took in milliseconds, and 1 where it failed."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Overall(_Table):
    """What all requests together must meet."""

    least_requests: int = Field(ge=1)
    answered_share: float = Field(gt=0, le=1)


class Latency(_Table):
    """What requests of one kind may take, in milliseconds."""

    p95_ms: float = Field(gt=0)
    p99_ms: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective; ``latency`` by kind of request."""

    overall: Overall
    latency: Mapping[str, Latency]


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """Of the requests of one kind: counts, and percentiles in milliseconds."""

    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, what was measured, and whether that meets it."""

    target: str
    measured: str
    met: bool


def read_objective(path: Path = SLO_FILE) -> Objective:
    """Read an objective. Raises ``ValueError`` that names the file, for a wrong key or value."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        overall = Overall.model_validate(tables.pop("all", {}))
        return Objective(overall, {name: Latency.model_validate(table) for name, table in tables.items()})
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_statistics(path: Path) -> dict[str, KindStatistics]:
    """The statistics by kind of request from a table of them all (:data:`TIMES_FILE`); :data:`AGGREGATED` is
    of all kinds together.

    The percentiles are measured times themselves (the nearest rank), of requests that were answered as
    expected; infinite where none was. Locust's own are of times rounded to two digits: 1,049 ms is its
    1,000.
    """
    times: dict[str, list[float]] = defaultdict(list)
    requests: Counter[str] = Counter()
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for kind in (row["kind"], AGGREGATED):
                requests[kind] += 1
                if row["failed"] == "0":
                    times[kind].append(float(row["ms"]))
    return {kind: _statistics(sent, times[kind]) for kind, sent in requests.items()}


def judge(objective: Objective, statistics: Mapping[str, KindStatistics]) -> list[Verdict]:
    """Every target beside what was measured. A kind that sent nothing has missed its targets."""
    everything = statistics.get(AGGREGATED)
    sent = everything.requests if everything else 0
    answered = 1 - everything.failures / sent if everything and sent else 0.0
    least, share = objective.overall.least_requests, objective.overall.answered_share
    verdicts = [
        Verdict(f"at least {least} requests", str(sent), sent >= least),
        Verdict(f"answered as expected: at least {share:.2%}", f"{answered:.3%}", answered >= share),
    ]
    for kind, limits in objective.latency.items():
        row = statistics.get(kind)
        for name, limit in (("p95", limits.p95_ms), ("p99", limits.p99_ms)):
            target = f"{kind}: {name} at most {limit:.0f} ms"
            if row is None or row.requests == 0:
                verdicts.append(Verdict(target, "no such request", met=False))
                continue
            value = row.p95_ms if name == "p95" else row.p99_ms
            verdicts.append(Verdict(target, f"{value:.0f} ms", value <= limit))
    return verdicts


def is_met(verdicts: Sequence[Verdict]) -> bool:
    """Whether every target was met."""
    return all(verdict.met for verdict in verdicts)


def _statistics(sent: int, times_ms: Sequence[float]) -> KindStatistics:
    percentiles = (inf, inf, inf)
    if times_ms:
        p50, p95, p99 = np.percentile(times_ms, (50, 95, 99), method="inverted_cdf")
        percentiles = (float(p50), float(p95), float(p99))
    return KindStatistics(sent, sent - len(times_ms), *percentiles)

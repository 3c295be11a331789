"""Reference ranges of a differential: what a laboratory expects of each class, in percent.

They differ between laboratories, methods and ages, so that a site names its own in a TOML file, of any label
that has a share; one that it leaves out is never flagged. The source is required, because every result
states it::

    source = "Own reference study of 2024, 240 adults, method and date"

    [ranges]
    Neutrophil = [40.0, 75.0]
    Lymphocyte = [12.0, 44.0]
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from orchestrator.errors import ConfigurationError
from orchestrator.labels import LABELS, UNIDENTIFIED, Labels
from orchestrator.specimen import Range

MAX_SOURCE_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class ReferenceRanges:
    """``ranges`` by class name, in percent; ``source`` says where they come from and whom they hold for."""

    source: str
    ranges: Mapping[str, Range]


ADULTS: Final = ReferenceRanges(
    source="example ranges for adults that came with the service; not of this site",
    ranges=MappingProxyType(
        {
            "Neutrophil": Range(40.0, 75.0),
            "Lymphocyte": Range(12.0, 44.0),
            "Monocyte": Range(4.0, 9.0),
            "Eosinophil": Range(0.0, 5.5),
            "Basophil": Range(0.0, 1.0),
        }
    ),
)
"""One laboratory's, of several that differ: another has 43 to 72, 18 to 43, 4 to 12, 0 to 8 and 0 to 2."""


def load_reference_ranges(path: Path, labels: Labels = LABELS) -> ReferenceRanges:
    """Read a site's file, of its ``labels``.

    Raises :class:`~orchestrator.errors.ConfigurationError`, which names the key, what was expected and what
    was received.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"reference ranges: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"reference ranges: expected TOML in UTF-8, received {error}") from error
    if unknown := sorted(set(table) - {"source", "ranges"}):
        raise ConfigurationError(
            f"reference ranges: expected the keys source and ranges, received {unknown[0]!r}"
        )
    source = table.get("source")
    if not isinstance(source, str) or not 0 < len(source.strip()) <= MAX_SOURCE_LENGTH:
        raise ConfigurationError(
            f"reference ranges, source: expected 1 to {MAX_SOURCE_LENGTH} characters, received {source!r}"
        )
    ranges = table.get("ranges", {})
    if not isinstance(ranges, dict):
        raise ConfigurationError(f"reference ranges, ranges: expected a table, received {ranges!r}")
    return ReferenceRanges(
        source.strip(),
        MappingProxyType({name: _range(name, limits, labels) for name, limits in ranges.items()}),
    )


def _range(name: str, limits: Any, labels: Labels) -> Range:
    known = [label.name for label in labels if label.denominator != "none" and label.name != UNIDENTIFIED]
    if name not in known:
        raise ConfigurationError(
            f"reference ranges, ranges: expected one of {', '.join(known)}, received {name!r}"
        )
    match limits:
        case [int() | float() as low, int() | float() as high] if (
            not isinstance(low, bool)
            and not isinstance(high, bool)
            and math.isfinite(low)
            and 0 <= low <= high <= 100
        ):
            return Range(float(low), float(high))
    raise ConfigurationError(
        f"reference ranges, ranges.{name}: expected [low, high] with 0 <= low <= high <= 100, "
        f"received {limits!r}"
    )

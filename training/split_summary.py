"""What a run trains and validates on: images by part, device and class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

from orchestrator.model_contract import CLASS_NAMES
from training.datasets import NOT_WBC_INDEX, Sample
from training.run_folder import write_csv

COLUMNS: Final = ("part", "device", *CLASS_NAMES, "none of them", "images", "slides")


def summarise(parts: Mapping[str, Sequence[Sample]]) -> list[tuple[str, ...]]:
    """A row for each device of each part, as :data:`COLUMNS` says; slides are those that are known."""
    rows = []
    for part, samples in parts.items():
        for device in sorted({sample.device for sample in samples}):
            members = [sample for sample in samples if sample.device == device]
            counts = Counter(sample.class_index for sample in members)
            slides = {sample.slide for sample in members if sample.slide}
            figures = (*(counts[index] for index in range(NOT_WBC_INDEX + 1)), len(members), len(slides))
            rows.append((part, device, *map(str, figures)))
    return rows


def summary_table(rows: Sequence[Sequence[str]]) -> Table:
    """The rows to look at."""
    table = Table(*COLUMNS, title="images by part, device and class")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    return table


def write_summary(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write the rows as CSV."""
    write_csv(path, COLUMNS, rows)

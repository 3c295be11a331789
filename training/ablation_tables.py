"""The rows of an ablation as CSV, as Markdown, and for the terminal."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table

from orchestrator.domain import DISCLAIMER, ModelIdentity
from training.ablation import ADAPTATION, PREPROCESSING, AblationRow, Variant
from training.metrics import Interval

_TITLES: Final = {ADAPTATION: "Adaptation", PREPROCESSING: "Preprocessing versions"}
_FIGURES: Final = ("balanced_accuracy", "macro_f1", "accuracy", "ece", "nll", "review_share")
_EXPLANATION: Final = """\
One model goes through every row; only the way to it and the decision after it change, so that the tables say
what this model gains or bears, not what another would reach that was trained on such input. Steps of the
reference system come first, each on top of the one before; then this project's, again from `none`. Rows that
presume something say what. Figures with 95 % bootstrap intervals; balanced accuracy and macro-F1 run over the
classes present. ECE is the expected calibration error."""


def write_csv(path: Path, rows: Sequence[AblationRow]) -> None:
    """A line for each row and set of images: all settings, and every figure with the ends of its interval."""
    with path.open("w", newline="", encoding="utf-8") as file:
        settings = list(rows[0].variant.settings())
        figures = [f"{figure}{end}" for figure in _FIGURES for end in ("", "_low", "_high")]
        writer = csv.writer(file)
        writer.writerow(["table", "row", "presumes", *settings, "split", "n", *figures])
        for row in rows:
            variant, scores = row.variant, asdict(row.scores)
            ends = [f"{value:.6f}" for figure in _FIGURES for value in scores[figure].values()]
            named = [variant.table, variant.name, variant.presumes, *variant.settings().values()]
            writer.writerow([*named, row.split, row.scores.n, *ends])


def markdown(rows: Sequence[AblationRow], model: ModelIdentity) -> str:
    """Both tables, a section for each set of images."""
    lines = [
        f"# Ablation of {model.name} version {model.version}",
        "",
        f"{DISCLAIMER} Model {model.sha256}.",
        "",
        _EXPLANATION,
        "",
    ]
    for table, split, members in _sections(rows):
        lines += [
            f"## {_TITLES[table]}: {split} ({members[0].scores.n} images)",
            "",
            "| Row | Crop | MEF | Reinhard | TTA | Temperature | Routing | Presumes | Balanced accuracy | "
            "Macro-F1 | Accuracy | ECE |",
            f"|{' --- |' * 12}",
        ]
        for row in members:
            scores = row.scores
            figures = (scores.balanced_accuracy, scores.macro_f1, scores.accuracy, scores.ece)
            cells = [row.variant.name, *row.variant.settings().values(), row.variant.presumes]
            lines.append(f"| {' | '.join([*cells, *map(str, figures)])} |")
        lines.append("")
    return "\n".join(lines)


def terminal_tables(rows: Sequence[AblationRow]) -> Iterator[Table]:
    """The same without intervals of the lesser figures and with the settings in one column."""
    for table, split, members in _sections(rows):
        shown = Table(
            "row",
            "settings",
            "balanced accuracy",
            "macro-F1",
            "accuracy",
            "ECE",
            title=f"{_TITLES[table]}: {split} ({members[0].scores.n} images)",
            caption=DISCLAIMER,
        )
        for row in members:
            scores = row.scores
            shown.add_row(
                row.variant.name,
                _in_words(row.variant),
                str(scores.balanced_accuracy),
                *(_value(figure) for figure in (scores.macro_f1, scores.accuracy, scores.ece)),
            )
        yield shown


def _sections(rows: Sequence[AblationRow]) -> Iterator[tuple[str, str, list[AblationRow]]]:
    for table in dict.fromkeys(row.variant.table for row in rows):
        for split in dict.fromkeys(row.split for row in rows):
            members = [row for row in rows if row.split == split and row.variant.table == table]
            if members:
                yield table, split, members


def _in_words(variant: Variant) -> str:
    settings = variant.settings()
    words = [settings["crop"], f"MEF {settings['mef']}"]
    words += ["Reinhard"] if settings["reinhard"] == "yes" else []
    words += ["8 views"] if settings["tta"] == "light" else []
    words += [f"T {settings['temperature']}"] if settings["temperature"] != "1" else []
    words += [f"routing {settings['routing']}"] if settings["routing"] != "none" else []
    return ", ".join(words)


def _value(figure: Interval) -> str:
    return f"{figure.value:.3f}"

"""What an evaluation leaves behind for one set of images: a folder with tables, figures and plots."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import classification_report

from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from training.cell_scores import RESAMPLES, CellScores, full_scores
from training.cells import JudgedCell, parts
from training.plots import plot_confusion, plot_reliability


def write_evaluation(
    folder: Path,
    name: str,
    cells: Sequence[JudgedCell],
    evaluated: Mapping[str, Any],
    resamples: int = RESAMPLES,
) -> dict[str, CellScores]:
    """Write the five files of a set of judged cells below ``folder``; return the scores of its parts.

    ``classification_report.txt``, ``confusion_matrix.png``, ``predictions.csv``, ``reliability.png`` and
    ``metrics.json``. ``evaluated`` says what was evaluated and how; it stands in ``metrics.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth = [cell.sample.class_index for cell in cells]
    answers = [cell.finding.class_index for cell in cells]
    probabilities = [cell.finding.probabilities for cell in cells]
    scores = {part: full_scores(members, resamples) for part, members in parts(name, cells)}

    (folder / "classification_report.txt").write_text(report_text(name, cells), encoding="utf-8")
    write_predictions(folder / "predictions.csv", cells)
    plot_confusion(truth, answers, f"{name}: {len(cells)} images", folder / "confusion_matrix.png")
    plot_reliability(probabilities, truth, f"{name}: reliability", folder / "reliability.png")
    document = {
        "notice": DISCLAIMER,
        "evaluated": dict(evaluated),
        "intervals": f"95 %, percentile bootstrap within each class, {resamples} resamples",
        "scores": {part: asdict(part_scores) for part, part_scores in scores.items()},
    }
    (folder / "metrics.json").write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
    return scores


def report_text(name: str, cells: Sequence[JudgedCell]) -> str:
    """Scikit-learn's report over the classes present, which were absent, and what they were answered."""
    truth = np.array([cell.sample.class_index for cell in cells])
    answers = np.array([cell.finding.class_index for cell in cells])
    present = [index for index in range(NUM_CLASSES) if (truth == index).any()]
    report = classification_report(
        truth,
        answers,
        labels=present,
        target_names=[CLASS_NAMES[i] for i in present],
        digits=3,
        zero_division=0,
    )
    right = int((truth == answers).sum())
    lines = [
        f"{name}: {len(cells)} images",
        "",
        report.rstrip("\n"),
        "",
        f"{right} of {len(cells)} right ({right / len(cells):.3f}). Averages run over the classes present.",
    ]
    lines += [
        f"Not present: {class_name}; answered {int((answers == index).sum())} times."
        for index, class_name in enumerate(CLASS_NAMES)
        if index not in present
    ]
    return "\n".join([*lines, "", DISCLAIMER]) + "\n"


def write_predictions(path: Path, cells: Sequence[JudgedCell]) -> None:
    """One CSV row per image, numbers with every digit, so that two evaluations can be compared exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "file",
                "device",
                "true_class",
                "class",
                "confidence",
                "decided_by",
                "needs_review",
                "review_reasons",
                *CLASS_NAMES,
                "aux_neutrophil",
                "energy",
                "focus_ratio",
                "focus_masks",
            ]
        )
        for cell in cells:
            finding, focus = cell.finding, cell.focus
            writer.writerow(
                [
                    cell.sample.path.name,
                    cell.sample.device,
                    CLASS_NAMES[cell.sample.class_index],
                    finding.class_name,
                    repr(finding.confidence),
                    finding.decided_by,
                    finding.needs_review,
                    " ".join(reason.code for reason in finding.review_reasons),
                    *(repr(p) for p in finding.probabilities),
                    repr(finding.aux_neutrophil),
                    repr(finding.energy),
                    "" if focus is None else repr(focus.ratio),
                    "" if focus is None else focus.masks,
                ]
            )

"""Figures of an evaluation and of a comparison, as PNG files. Drawn without a display (Agg)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from training.calibrate import expected_calibration_error

BINS: Final = 10
"""Of the reliability diagram; those of the expected calibration error that it states."""

BACKBONE_KEYS: Final = ("model", "parameters", "val_accuracy", "macro_f1", "ms_embedded", "ms_keras")


def confusion_counts(truth: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    """How often each class (row) was answered as each (column), int ``[5, 5]``; classes as int ``[N]``."""
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.intp)
    np.add.at(counts, (np.asarray(truth), np.asarray(predicted)), 1)
    return counts


def plot_confusion(truth: ArrayLike, predicted: ArrayLike, title: str, path: Path) -> None:
    """Counts, and the share of each row's images; a class without an image has an empty row that says so."""
    counts = confusion_counts(truth, predicted)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = _figure(7.2, 6.4)
    axis = figure.subplots()
    picture = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.ndindex(counts.shape):
        if totals[row, 0]:
            colour = "white" if shares[row, column] > 0.55 else "black"
            text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")
    names = [
        f"{name}\n({total})" if total else f"{name}\n(not present)"
        for name, total in zip(CLASS_NAMES, totals[:, 0], strict=True)
    ]
    axis.set_xticks(range(NUM_CLASSES), CLASS_NAMES, rotation=30, ha="right")
    axis.set_yticks(range(NUM_CLASSES), names)
    axis.set_xlabel("answered")
    axis.set_ylabel("true")
    figure.colorbar(picture, ax=axis, label="share of the row")
    _finish(figure, title, path)


def plot_reliability(probabilities: ArrayLike, truth: ArrayLike, title: str, path: Path) -> None:
    """Accuracy over confidence in bins, with the expected calibration error; below, how full the bins are.

    ``probabilities`` are float ``[N, 5]``, ``truth`` int ``[N]``.
    """
    p, classes = np.asarray(probabilities, np.float64), np.asarray(truth)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == classes
    members = np.minimum((confidence * BINS).astype(int), BINS - 1)
    centres = (np.arange(BINS) + 0.5) / BINS
    counts = np.bincount(members, minlength=BINS)
    filled = counts > 0
    accuracies = np.bincount(members, weights=right, minlength=BINS)[filled] / counts[filled]
    confidences = np.bincount(members, weights=confidence, minlength=BINS)[filled] / counts[filled]

    figure = _figure(6.4, 7.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.bar(centres[filled], accuracies, 0.9 / BINS, color="tab:blue", alpha=0.7, label="accuracy")
    upper.plot(confidences, accuracies, "o", color="tab:orange", label="at the bin's mean confidence")
    upper.plot([0, 1], [0, 1], "--", color="tab:grey", label="as sure as right")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.set_ylabel("accuracy")
    error = expected_calibration_error(p, classes, BINS)
    upper.set_title(f"expected calibration error {error:.3f}, {len(classes)} images", fontsize="medium")
    upper.legend(loc="upper left", fontsize="small")
    lower.bar(centres, counts, 0.9 / BINS, color="tab:grey")
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    _finish(figure, title, path)


def plot_backbones(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Compared backbones: accuracy and macro-F1 as bars, and accuracy over the time that an image takes.

    A row has the keys of :data:`BACKBONE_KEYS`: ``model`` (name), ``parameters`` (count), ``val_accuracy``
    and ``macro_f1`` in [0, 1], ``ms_embedded`` and ``ms_keras`` (milliseconds per image, None where not
    measured). Others are ignored.

    Raises ``ValueError`` where there is no row, or a row lacks a key.
    """
    if not rows:
        raise ValueError("expected at least one backbone to draw, received none")
    for row in rows:
        if missing := [key for key in BACKBONE_KEYS if key not in row]:
            raise ValueError(
                f"expected the keys {', '.join(BACKBONE_KEYS)}; a row lacks {', '.join(missing)}"
            )
    figure = _figure(12, 1.8 + 0.55 * max(len(rows), 5))
    bars, times = figure.subplots(1, 2)
    positions = np.arange(len(rows))
    names = [f"{row['model']}\n{row['parameters'] / 1e6:.1f} M" for row in rows]
    for offset, key, label, colour in (
        (-0.2, "val_accuracy", "accuracy", "tab:blue"),
        (0.2, "macro_f1", "macro-F1", "tab:orange"),
    ):
        drawn = bars.barh(positions + offset, [row[key] for row in rows], 0.38, label=label, color=colour)
        bars.bar_label(drawn, fmt="%.3f", fontsize="small", padding=2)
    bars.set_yticks(positions, names, fontsize="small")
    bars.invert_yaxis()
    bars.set_xlim(0, 1.12)
    bars.set_xlabel("validation")
    _legend_above(bars)
    _times(times, rows)
    _finish(figure, "Backbones under one protocol", path)


def _times(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """A point for each time that was measured; those of a backbone share a line and its name."""
    for key, label, marker in (("ms_embedded", "embedded runtime", "o"), ("ms_keras", "Keras", "s")):
        points = [(row[key], row["val_accuracy"]) for row in rows if row[key] is not None]
        if points:
            axis.scatter(*zip(*points, strict=True), marker=marker, label=label, zorder=3)
    measured = False
    for row in rows:
        times = [row[key] for key in ("ms_embedded", "ms_keras") if row[key] is not None]
        if times:
            measured = True
            axis.plot(times, [row["val_accuracy"]] * len(times), color="tab:grey", linewidth=1, zorder=2)
            axis.annotate(
                row["model"],
                (min(times), row["val_accuracy"]),
                xytext=(0, 6),
                textcoords="offset points",
                fontsize="x-small",
            )
    axis.set_xlabel("milliseconds per image")
    axis.set_ylabel("validation accuracy")
    axis.margins(0.08, 0.12)
    axis.grid(alpha=0.3)
    if measured:
        axis.set_xscale("log")
        _legend_above(axis)
    else:
        axis.text(0.5, 0.5, "no times measured", transform=axis.transAxes, ha="center", alpha=0.6)


def _legend_above(axis: Axes) -> None:
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Figure, title: str, path: Path) -> None:
    figure.suptitle(title)
    figure.supxlabel(DISCLAIMER, fontsize="small")
    figure.savefig(path, dpi=100, metadata={"Title": title, "Description": DISCLAIMER})

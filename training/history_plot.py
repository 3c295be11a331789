"""``training_history.png``: a run to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orchestrator.domain import DISCLAIMER

_PANELS: Final = (
    ("loss of the main head", {"main_out_loss": "training", "val_loss": "validation"}),
    ("accuracy", {"main_out_accuracy": "training", "val_accuracy": "validation"}),
    ("balanced accuracy", {"val_balanced_accuracy": "validation"}),
    ("focus ratio ρ", {"xai_focus": "validation"}),
    ("learning rate", {"learning_rate": "learning rate"}),
)
_COLOURS: Final = {"training": "tab:orange", "validation": "tab:blue", "learning rate": "tab:grey"}


def plot_history(
    rows: Sequence[Mapping[str, str]], path: Path, *, focus_threshold: float | None = None
) -> None:
    """Draw the rows of ``history.csv``: one panel a figure of merit, the phases as shaded stretches.

    ``focus_threshold`` is drawn as a line in the panel of the focus ratio.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("expected at least one epoch to draw, received none")
    figure = Figure(figsize=(9, 13), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Sequence[Axes] = list(figure.subplots(len(_PANELS), 1, sharex=True))
    for axis, (title, series) in zip(axes, _PANELS, strict=True):
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
        for column, label in series.items():
            points = [(n, float(row[column])) for n, row in enumerate(rows, start=1) if row.get(column)]
            if points:
                marker = "o" if len(points) < len(rows) or len(points) == 1 else ""
                axis.plot(*zip(*points, strict=True), color=_COLOURS[label], label=label, marker=marker)
            else:
                axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", alpha=0.6)
        if len(series) > 1:
            axis.legend(loc="best", fontsize="small")
    if focus_threshold is not None:
        axes[3].axhline(focus_threshold, color="tab:red", linestyle=":", linewidth=1)
    if any(float(row["learning_rate"]) > 0 for row in rows):
        axes[4].set_yscale("log")
    _mark_phases(axes, rows)
    axes[-1].set_xlabel("epoch of the run")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel(DISCLAIMER, fontsize="small")
    figure.savefig(path, dpi=100)


def _mark_phases(axes: Sequence[Axes], rows: Sequence[Mapping[str, str]]) -> None:
    starts = [n for n, row in enumerate(rows) if n == 0 or row["phase"] != rows[n - 1]["phase"]]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        for axis in axes:
            axis.axvspan(start + 0.5, end + 0.5, color="tab:grey", alpha=0.04 + 0.1 * (number % 2))
        axes[0].text(start + 0.55, 1.02, rows[start]["phase"], transform=axes[0].get_xaxis_transform())
    axes[0].set_xlim(0.5, len(rows) + 0.5)

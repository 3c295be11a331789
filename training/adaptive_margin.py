"""How clear the first view must be for adaptive test-time augmentation to be content with it.

The margin is chosen on held-out images of the training split, without their labels: what counts is how often
the decision by the first view would have been another by all eight. Margins of such images are small and
few, so that their tail is extrapolated as an exponential one instead of being read off the largest: excesses
over a threshold tend to the generalised Pareto distribution (Pickands 1975, "Statistical inference using
extreme order statistics", Annals of Statistics 3(1):119-131), of which this is the case of shape 0.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import Profile
from orchestrator.routing import is_clear
from training.cells import SeenCell, judge, look
from training.datasets import read_run_samples, split_parts
from training.predictors import Predictor

TOLERANCE: Final = 0.001
"""Expected share of all images that stop early with another decision than that of all views.

A third of what balanced accuracy may lose (0.3 points), because the images of the classes that lose are not
spread evenly."""


@dataclass(frozen=True, slots=True)
class MarginChoice:
    """The margin for a profile, and what it rests on.

    Of ``images``, ``differing`` are decided otherwise by the first view than by all; their margins reach up
    to ``largest``, on average ``mean``. With the chosen margin one view is enough for the share
    ``stopped_early``, and ``views`` is the mean number of views.
    """

    profile: str
    margin: float
    images: int
    differing: int
    largest: float
    mean: float
    stopped_early: float
    views: float


def choose_margin(seen: Sequence[SeenCell], profile: Profile, tolerance: float = TOLERANCE) -> MarginChoice:
    """The least margin, in hundredths, that keeps the expected share of other decisions within ``tolerance``.

    ``seen`` are held-out images with the answers for all eight views. With a share s of differing images
    whose margins are m on average, s·exp(-t/m) of all images lie over t. The margin is never under
    the largest one seen to differ, nor under the profile's ``review_margin``, under which a result counts as
    a close call.

    Raises ``ValueError`` for no image and for a tolerance outside of (0, 1).
    """
    if not seen:
        raise ValueError("expected at least one image to choose the margin by, received none")
    if not 0 < tolerance < 1:
        raise ValueError(f"expected a tolerance in (0, 1), received {tolerance!r}")
    first = [judge(cell, "none", profile.routing).finding for cell in seen]
    light = [judge(cell, "light", profile.routing).finding for cell in seen]
    margins = [
        one.margin
        for one, all_views in zip(first, light, strict=True)
        if one.class_index != all_views.class_index
    ]
    largest = max(margins, default=0.0)
    mean = sum(margins) / len(margins) if margins else 0.0
    share = len(margins) / len(seen)
    extrapolated = mean * math.log(share / tolerance) if share > tolerance else 0.0
    least = max(largest, extrapolated, profile.routing.review_margin)
    margin = min(1.0, math.floor(100 * least + 1) / 100)  # the next hundredth above
    stopped = sum(is_clear(one, margin) for one in first) / len(seen)
    return MarginChoice(
        profile.name, margin, len(seen), len(margins), largest, mean, stopped, stopped + 8 * (1 - stopped)
    )


def choose_margins(
    predict: Predictor,
    profiles: Sequence[Profile],
    data_root: Path,
    *,
    split: str = "Train",
    val_fraction: float = 0.15,
    seed: int = 42,
    validate_device: str | None = None,
    more: Sequence[Path] = (),
    batch_size: int = 4,
    tolerance: float = TOLERANCE,
) -> list[MarginChoice]:
    """The margin of each profile, on the validation part of ``split`` and of ``more`` devices as
    `wbc-train train` divides it.

    Images are seen once for each distinct recipe with its limits of quality.

    Raises:
        ConfigurationError: the split is missing.
        InvalidImage: an image cannot be decoded.
    """
    _, held_out = split_parts(
        read_run_samples(data_root, split, more=more), val_fraction, seed, validate_device
    )
    what = f"validation part of {split}"
    seen = {
        (recipe, limits): list(
            look(predict, held_out, recipe, "light", what, limits=limits, batch_size=batch_size)
        )
        for recipe, limits in dict.fromkeys((profile.recipe, profile.quality) for profile in profiles)
    }
    return [choose_margin(seen[profile.recipe, profile.quality], profile, tolerance) for profile in profiles]


def margin_table(choices: Sequence[MarginChoice]) -> Table:
    """The choices for the terminal."""
    table = Table(
        "profile", "adaptive_margin", "images", "decided otherwise", "their margins: mean, largest",
        "stopped early", "views per image", caption=DISCLAIMER,
    )  # fmt: skip
    for one in choices:
        table.add_row(
            one.profile,
            f"{one.margin:.2f}",
            str(one.images),
            str(one.differing),
            f"{one.mean:.3f}, {one.largest:.3f}",
            f"{one.stopped_early:.1%}",
            f"{one.views:.2f}",
        )
    return table


def write_margin(path: Path, choice: MarginChoice, model: str) -> None:
    """Put the margin into a profile's file, in place of the one that is there; all other lines stay.

    Raises :class:`ConfigurationError` where the file has no line ``tta = ...``.
    """
    text = path.read_text(encoding="utf-8")
    without = re.sub(r"^adaptive_margin *=.*\n", "", text, flags=re.MULTILINE)
    line = (
        f"adaptive_margin = {choice.margin:.2f}  # {choice.images} images of the validation part of Train "
        f"({model}), by wbc-train adaptive-margin\n"
    )
    written, count = re.subn(r"^(tta *=.*\n)", rf"\g<1>{line}", without, count=1, flags=re.MULTILINE)
    if not count:
        raise ConfigurationError(f"{path.name}: expected a line `tta = ...`, found none")
    path.write_text(written, encoding="utf-8")

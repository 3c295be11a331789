"""Test-time augmentation: which views of an image are asked about, and the way back for their maps.

``light`` asks about all of :data:`orchestrator.views.VIEWS`; ``adaptive`` about the first of them, and about
the others only where the answer for it is not clear (:func:`orchestrator.routing.is_clear`).
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from orchestrator.domain import Float32Array
from orchestrator.views import VIEWS

TtaMode = Literal["none", "light", "adaptive"]

_LIGHT: Final = tuple(range(len(VIEWS)))

CODES: Final[dict[TtaMode, tuple[int, ...]]] = {"none": _LIGHT[:1], "light": _LIGHT, "adaptive": _LIGHT}
"""All the views that a mode may ask about, as places in ``VIEWS``; every mode's first one is the identity."""

FIRST_CODES: Final[dict[TtaMode, tuple[int, ...]]] = {**CODES, "adaptive": CODES["none"]}
"""The views that are asked about first."""

OTHER_CODES: Final = _LIGHT[1:]
"""What ``adaptive`` asks about next, where the first answer was not clear."""


def restore(maps: Float32Array | Sequence[Float32Array], mode: TtaMode) -> Float32Array:
    """Bring the maps of the views, float32 ``[N, h, w]``, back to the orientation of the first one.

    Raises ``ValueError`` where there are not as many maps as views; ``adaptive`` may have 1 or all.
    """
    codes = CODES["none"] if mode == "adaptive" and len(maps) == 1 else CODES[mode]
    if len(maps) != len(codes):
        raise ValueError(f"expected {len(codes)} maps for the views of {mode!r}, received {len(maps)}")
    return np.stack([VIEWS[code].invert(one) for code, one in zip(codes, maps, strict=True)])

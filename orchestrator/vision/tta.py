"""Test-time augmentation: eight views of one image, and the way back for their maps.

The views and their order are those of the reference system's "light" TTA. Brightness is a gain that the
graph applies, so that these views are exact and cost no second rounding. ``adaptive`` asks for the first of
these views, and for the others only where the answer for it is not clear
(:func:`orchestrator.routing.is_clear`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array, ViewBatch

TtaMode = Literal["none", "light", "adaptive"]

Turn = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class View:
    """One view: what is done to the first two axes (rows, columns), what undoes it, and the gain."""

    name: str
    apply: Turn
    invert: Turn
    gain: float = 1.0


def _identity(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _flip(axis: int) -> Turn:
    return lambda array: np.asarray(cv2.flip(array, axis))


def _rotation(code: int) -> Turn:
    return lambda array: np.asarray(cv2.rotate(array, code))


_LEFT_RIGHT, _UP_DOWN = _flip(1), _flip(0)
_ROTATE_90 = _rotation(cv2.ROTATE_90_COUNTERCLOCKWISE)
_ROTATE_180 = _rotation(cv2.ROTATE_180)
_ROTATE_270 = _rotation(cv2.ROTATE_90_CLOCKWISE)

# By OpenCV, which writes a turned image at once: gathering NumPy's turned views takes ten times as long.
_LIGHT: Final = (
    View("identity", _identity, _identity),
    View("flip left-right", _LEFT_RIGHT, _LEFT_RIGHT),
    View("flip up-down", _UP_DOWN, _UP_DOWN),
    View("rotate 90", _ROTATE_90, _ROTATE_270),
    View("rotate 180", _ROTATE_180, _ROTATE_180),
    View("rotate 270", _ROTATE_270, _ROTATE_90),
    View("brightness x1.1", _identity, _identity, gain=1.1),
    View("brightness x0.9", _identity, _identity, gain=0.9),
)

VIEWS: Final[dict[TtaMode, tuple[View, ...]]] = {"none": _LIGHT[:1], "light": _LIGHT, "adaptive": _LIGHT}
"""All the views that a mode may ask for; every mode's first one is the identity."""


def stack(pixels: UInt8Array, mode: TtaMode) -> ViewBatch:
    """All views of one image as rows for the model server.

    ``pixels`` is uint8 ``[224, 224, 3]``; N is 1 for ``none`` and 8 for the others.
    """
    return _stacked(pixels, VIEWS[mode])


def stack_first(pixels: UInt8Array, mode: TtaMode) -> ViewBatch:
    """The views that are asked for first: the identity alone where ``adaptive``, otherwise all of them."""
    return stack(pixels, "none" if mode == "adaptive" else mode)


def stack_others(pixels: UInt8Array) -> ViewBatch:
    """The seven views of ``light`` after the identity, for an image whose first answer was not clear."""
    return _stacked(pixels, _LIGHT[1:])


def restore(maps: Float32Array | Sequence[Float32Array], mode: TtaMode) -> Float32Array:
    """Bring the maps of the views, float32 ``[N, h, w]``, back to the orientation of the first one.

    Raises ``ValueError`` where there are not as many maps as views; ``adaptive`` may have 1 or all.
    """
    views = VIEWS["none"] if mode == "adaptive" and len(maps) == 1 else VIEWS[mode]
    if len(maps) != len(views):
        raise ValueError(f"expected {len(views)} maps for the views of {mode!r}, received {len(maps)}")
    return np.stack([view.invert(one) for view, one in zip(views, maps, strict=True)])


def _stacked(pixels: UInt8Array, views: Sequence[View]) -> ViewBatch:
    return ViewBatch(
        images=np.stack([view.apply(pixels) for view in views]),
        gain=np.array([view.gain for view in views], np.float32),
    )

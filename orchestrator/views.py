"""The eight views of an image that the network may be asked about, and how one becomes rows.

They and their order are those of the reference system's "light" test-time augmentation; the place of a view
in :data:`VIEWS` is its code in the model contract. Brightness is a gain that the graph applies, so that these
views are exact and cost no second rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, Question, ViewBatch
from orchestrator.model_contract import NUM_VIEWS, UNKNOWN


@dataclass(frozen=True, slots=True)
class View:
    """One view: rows and columns exchanged, then turned over, then the gain. An exported graph does the same
    by these very fields."""

    name: str
    transpose: bool = False
    up_down: bool = False
    left_right: bool = False
    gain: float = 1.0

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """What is done to the first two axes; the gain is the graph's."""
        return self._turned(np.asarray(cv2.transpose(array)) if self.transpose else array)

    def invert(self, array: NDArray[Any]) -> NDArray[Any]:
        """What undoes it."""
        turned = self._turned(array)
        return np.asarray(cv2.transpose(turned)) if self.transpose else turned

    def _turned(self, array: NDArray[Any]) -> NDArray[Any]:
        # By OpenCV, which writes a turned image at once: gathering NumPy's views takes ten times as long.
        if self.up_down and self.left_right:
            return np.asarray(cv2.flip(array, -1))
        if self.up_down or self.left_right:
            return np.asarray(cv2.flip(array, int(self.left_right)))
        return array


VIEWS: Final = (
    View("identity"),
    View("flip left-right", left_right=True),
    View("flip up-down", up_down=True),
    View("rotate 90", transpose=True, up_down=True),
    View("rotate 180", up_down=True, left_right=True),
    View("rotate 270", transpose=True, left_right=True),
    View("brightness x1.1", gain=1.1),
    View("brightness x0.9", gain=0.9),
)
assert len(VIEWS) == NUM_VIEWS


def rows_of(question: Question) -> ViewBatch:
    """The rows that a question is about, in their order; those of a :class:`ViewBatch` are there already."""
    if isinstance(question, ViewBatch):
        return question
    views = [VIEWS[code] for code in question.codes]
    rows = len(views)
    return ViewBatch(
        images=np.stack([view.apply(question.image) for view in views]),
        gain=np.array([view.gain for view in views], np.float32),
        morphometry=np.tile(question.morphometry.places(), (rows, 1)),
        head=None if question.head is None else np.broadcast_to(question.head, (rows, *question.head.shape)),
    )


def stacked(questions: Sequence[Question]) -> ViewBatch:
    """The rows of all ``questions``, one after the other."""
    parts = [rows_of(question) for question in questions]
    if len(parts) == 1:
        return parts[0]
    return ViewBatch(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.gain for part in parts]),
        _filled([part.morphometry for part in parts], parts, UNKNOWN),
        _filled([part.head for part in parts], parts, 0.0),
    )


def _filled(
    arrays: Sequence[Float32Array | None], parts: Sequence[ViewBatch], nothing: float
) -> Float32Array | None:
    """The arrays as one, with ``nothing`` in the rows of those that have none; None where none has."""
    shape = next((array.shape[1:] for array in arrays if array is not None), None)
    if shape is None:
        return None
    return np.concatenate(
        [
            np.full((len(part), *shape), nothing, np.float32) if array is None else array
            for array, part in zip(arrays, parts, strict=True)
        ]
    )

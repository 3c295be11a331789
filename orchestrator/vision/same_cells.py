"""Whether two cells of two fields are one, photographed twice where the fields overlap.

Told by what lies around them, red cells above all, which no second cell has: the windows around both,
compared by normalised correlation wherever both lie in their frames. The limit was chosen on painted fields
of which overlapping parts were cut and photographed anew (docs/accuracy.md).
"""

from collections.abc import Iterator, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Box, Float32Array, UInt8Array

MARK_SIDE: Final = 32
MARK_RED_CELLS: Final = 4.0
"""A mark is a window of so many red cells' diameters, in so many pixels."""

REACH: Final = 4
"""Pixels of a mark by which the two may be shifted, as the middles of two outlines are."""

LEAST_SEEN: Final = 0.4
"""Share of a window, at least, that both frames must hold."""

SAME: Final = 0.95
SAME_AROUND: Final = 0.85
HOLE: Final = 7.5
"""Correlation from which on two are one cell: of the windows, and of what of them lies beyond so many pixels
from the middle, for nuclei are alike."""

CHUNK: Final = 256
"""Marks that are compared at a time, of 20 kB of spectra each."""

_LEAST_SPREAD: Final = 4.0
"""Standard deviation in levels of grey; a window that has less tells nothing."""


def mark_of(rgb: UInt8Array, box: Box, red_cell_px: float) -> bytes:
    """What lies around a cell of a field, uint8 ``[H, W, 3]``: 1024 levels of grey from 1 to 255, row by row;
    0 where the frame ends."""
    side = MARK_RED_CELLS * red_cell_px
    step = side / MARK_SIDE
    left, top = (box.left + box.right - side) / 2, (box.top + box.bottom - side) / 2
    rows = slice(max(0, int(top)), min(rgb.shape[0], int(top + side) + 2))
    columns = slice(max(0, int(left)), min(rgb.shape[1], int(left + side) + 2))
    grey = np.asarray(cv2.cvtColor(rgb[rows, columns], cv2.COLOR_RGB2GRAY), np.uint8)
    shrink = min(1.0, 1 / step)
    small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    fit_y, fit_x = small.shape[0] / grey.shape[0], small.shape[1] / grey.shape[1]
    matrix = np.array(
        [
            [step * fit_x, 0, (left + step / 2 - columns.start) * fit_x - 0.5],
            [0, step * fit_y, (top + step / 2 - rows.start) * fit_y - 0.5],
        ]
    )
    window = cv2.warpAffine(
        np.maximum(small, 1),
        matrix,
        (MARK_SIDE, MARK_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    middles = (np.arange(MARK_SIDE) + 0.5) * step
    inside = np.outer(
        (top + middles >= 0) & (top + middles <= rgb.shape[0]),
        (left + middles >= 0) & (left + middles <= rgb.shape[1]),
    )
    return np.asarray(window * inside, np.uint8).tobytes()


def _correlations(
    one: NDArray[np.complex64], others: NDArray[np.complex64], around: NDArray[np.bool_] | None = None
) -> Float32Array:
    """Of a mark with each of N others, by its spectra and their conjugate ones, at the shift where it is
    highest, float32 ``[N]``; -1 where too little is seen of both. ``around`` is what of the others counts.

    Padfield 2012, "Masked object registration in the Fourier domain".
    """
    mask, value, square = one
    others_mask, others_value, others_square = others
    number = np.maximum(np.round(_shifted(mask * others_mask)), 1)
    one_sum, other_sum = _shifted(value * others_mask), _shifted(mask * others_value)
    together = _shifted(value * others_value) - one_sum * other_sum / number
    least = number * _LEAST_SPREAD**2
    spread = np.maximum(_shifted(square * others_mask) - one_sum**2 / number, least) * np.maximum(
        _shifted(mask * others_square) - other_sum**2 / number, least
    )
    whole = MARK_SIDE**2 if around is None else np.count_nonzero(around)
    found = np.where(number >= LEAST_SEEN * whole, together / np.sqrt(spread), -1)
    return np.asarray(found.max(axis=(1, 2)), np.float32)


def same_cells(marks: Sequence[bytes], known: Sequence[bytes]) -> list[int | None]:
    """For each cell of a field the place of the one among ``known`` that it is; None where it is a new one.
    No two are the same one."""
    found: list[int | None] = [None] * len(marks)
    if not marks or not known:
        return found
    spectra = [_spectra(one) for one in _levels(marks)]
    likeness = np.hstack([_likeness(spectra, others) for others in _chunks(_levels(known))])
    while likeness.max() > 0:
        one, other = np.unravel_index(int(likeness.argmax()), likeness.shape)
        found[int(one)] = int(other)
        likeness[one, :] = likeness[:, other] = 0
    return found


def _chunks(known: UInt8Array) -> Iterator[UInt8Array]:
    """So that what is worked on at a time is bounded, however many are known."""
    return (known[start : start + CHUNK] for start in range(0, len(known), CHUNK))


def _likeness(spectra: Sequence[NDArray[np.complex64]], others: UInt8Array) -> Float32Array:
    """Of marks, by their spectra, with each of the others; 0 where they are not one cell."""
    of_others = np.conj(_spectra(others))
    likeness = np.stack([_correlations(one, of_others) for one in spectra])
    likeness[likeness < SAME] = 0
    for one, of in zip(spectra, likeness, strict=True):
        alike = np.flatnonzero(of)
        if alike.size:
            around = _correlations(one, np.conj(_spectra(others[alike], _AROUND)), _AROUND)
            of[alike[around < SAME_AROUND]] = 0
    return np.asarray(likeness, np.float32)


_FROM_MIDDLE: Final = np.arange(MARK_SIDE) - (MARK_SIDE - 1) / 2
_AROUND: Final = np.hypot(_FROM_MIDDLE[:, np.newaxis], _FROM_MIDDLE) >= HOLE


def _spectra(levels: UInt8Array, around: NDArray[np.bool_] | None = None) -> NDArray[np.complex64]:
    """Of what is seen, of its levels, and of their squares."""
    mask = (levels > 0 if around is None else (levels > 0) & around).astype(np.float32)
    value = (levels.astype(np.float32) - 128) * mask
    return np.asarray(np.fft.rfft2(np.stack([mask, value, value**2]), (_PADDED, _PADDED)), np.complex64)


_PADDED: Final = MARK_SIDE + 2 * REACH
"""So that no shift within reach wraps around."""


def _shifted(spectrum: NDArray[np.complex64]) -> Float32Array:
    """At each shift within reach."""
    whole = np.fft.irfft2(spectrum, (_PADDED, _PADDED))
    reach = np.arange(-REACH, REACH + 1)
    return np.asarray(whole[:, reach[:, np.newaxis], reach], np.float32)


def no_same_cells(marks: Sequence[bytes], known: Sequence[bytes]) -> list[int | None]:  # noqa: ARG001
    """As :func:`same_cells` where every find counts."""
    return [None] * len(marks)


def _levels(marks: Sequence[bytes]) -> UInt8Array:
    return np.frombuffer(b"".join(marks), np.uint8).reshape(-1, MARK_SIDE, MARK_SIDE)

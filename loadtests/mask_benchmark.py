"""How long the masks of a cell take, beside OpenCV's own GrabCut started from the same nucleus.

    python -m loadtests.mask_benchmark [--rounds 30]

Both run in this process, on one core, on the same painted cells, in alternation; the ratio is what counts,
milliseconds depend on the machine. Dice with the painted cell's true mask stands beside the time: a fast
mask that is wrong is none. Budget: 6 ms a crop of 224 pixels and larger.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from loadtests.mef_benchmark import time_ms
from orchestrator.domain import UInt8Array
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.crop import cell_window, extract, locate_cell
from orchestrator.vision.foreground import cell_masks, nucleus_component
from tests.synthetic_cells import synthetic_cell_with_masks
from training.mask_quality import dice

BUDGET_MS = 6.0
LARGE = 448
GRABCUT_ROUNDS = 3
Mask = NDArray[np.bool_]


def painted_crops(size: int) -> list[tuple[UInt8Array, Mask]]:
    """A cell of each class as serving crops it, uint8 ``[size, size, 3]``, and its true mask."""
    crops = []
    for name in CLASS_NAMES:
        smear = synthetic_cell_with_masks(name, seed=1, size=720)
        window = cell_window(locate_cell(smear.rgb), 1.4, smear.rgb.shape)
        truth = extract(smear.cell.astype(np.uint8) * np.uint8(255), window, size) > 127
        crops.append((extract(smear.rgb, window, size), truth))
    return crops


def grabcut_mask(crop: UInt8Array) -> Mask:
    """GrabCut (Rother et al. 2004): the nucleus is sure, what is within a third of its size is likely."""
    found = nucleus_component(crop)
    if found is None:
        return np.zeros(crop.shape[:2], np.bool_)
    nucleus = cv2.resize(found.view(np.uint8), crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    distance = cv2.distanceTransform(1 - nucleus, cv2.DIST_L2, 3)
    likely = distance < 0.33 * np.sqrt(cv2.countNonZero(nucleus))
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[nucleus > 0] = cv2.GC_FGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(crop, labels, None, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.bool_)


def main() -> None:
    """Run both in alternation and print medians, their ratio, and how well each fits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    methods: dict[str, Callable[[UInt8Array], Mask]] = {
        "cell_masks": lambda crop: cell_masks(crop).cell > 0.5,
        "GrabCut": grabcut_mask,
    }
    for size in (IMAGE_SIZE, LARGE):
        crops = painted_crops(size)
        times: dict[str, list[float]] = {name: [] for name in methods}
        for turn in range(rounds):
            crop, _ = crops[turn % len(crops)]
            for name, method in methods.items():
                times[name].append(time_ms(partial(method, crop)))
        ours, peer = (statistics.median(values) for values in times.values())
        for name, method in methods.items():
            fit = statistics.mean(dice(method(crop), truth) for crop, truth in crops)
            print(
                f"{size} px {name:10} median {statistics.median(times[name]):7.2f} ms   "
                f"best {min(times[name]):7.2f} ms   Dice {fit:.3f}"
            )
        print(
            f"ratio GrabCut / ours {peer / ours:.1f}; "
            f"budget of {BUDGET_MS} ms {'kept' if ours <= BUDGET_MS else 'MISSED'}"
        )


if __name__ == "__main__":
    main()

"""How long MEF v1 takes, beside a straightforward float implementation of the same five steps.

    python -m loadtests.mef_benchmark [--rounds 50]

Both run in this process, on one core, on the same synthetic smear of 224x224 pixels, in alternation; the
ratio is what counts, milliseconds depend on the machine. Budget: 8 ms an image for MEF v1.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.vision.preprocessing import Recipe, enhance

SIZE = 224
BUDGET_MS = 8.0
FloatImage = NDArray[np.float32]


def smear(seed: int = 0) -> UInt8Array:
    """A stained disc on a noisy field, uint8 ``[224, 224, 3]``: flat parts, edges and texture."""
    random = np.random.default_rng(seed)
    rgb = np.full((SIZE, SIZE, 3), (232, 214, 208), np.float32) + random.normal(0, 4, (SIZE, SIZE, 3))
    for radius, colour in ((80, (200, 190, 220)), (52, (95, 60, 140))):
        disc = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (112, 112), radius, 1, -1).astype(bool)
        rgb[disc] = np.array(colour) + random.normal(0, 14, (int(disc.sum()), 3))
    return np.asarray(cv2.GaussianBlur(rgb.clip(0, 255).astype(np.uint8), (3, 3), 0), np.uint8)


def float_mef(rgb: UInt8Array) -> UInt8Array:
    """The five steps as one would first write them: float32 in [0, 1] throughout."""
    image = rgb.astype(np.float32) / 255
    low, high = np.percentile(image, [2, 98], axis=(0, 1))
    image = np.clip((image - low) / np.maximum(high - low, 1e-6), 0, 1).astype(np.float32)

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lightness = np.rint(lab[:, :, 0] * 2.55).astype(np.uint8)
    coarse = cv2.createCLAHE(3.0, (4, 4)).apply(lightness) / 255.0
    fine = cv2.createCLAHE(3.0, (8, 8)).apply(lightness) / 255.0
    weight = cv2.GaussianBlur(cv2.Canny(lightness, 50, 150) / 255.0, (7, 7), 0)
    lab[:, :, 0] = (100 * (weight * coarse + (1 - weight) * fine)).astype(np.float32)
    image = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)

    image = cv2.bilateralFilter(image, 9, 65 / 255, 65)

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lightness_f = np.ascontiguousarray(lab[:, :, 0])
    inner = lightness_f - cv2.erode(lightness_f, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    outer = cv2.dilate(lightness_f, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))) - lightness_f
    lab[:, :, 0] = np.clip(lightness_f - 0.3 * (inner + outer) / 2, 0, 100)
    image = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)

    grey = np.rint(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8)
    edges = cv2.dilate(cv2.Canny(grey, 50, 150), np.ones((3, 3), np.uint8)) > 0
    laplacian = cv2.Laplacian(cv2.GaussianBlur(image, (3, 3), 0), cv2.CV_32F, ksize=3)
    image = np.where(edges[:, :, np.newaxis], np.clip(image - 0.5 * laplacian, 0, 1), image)
    return np.asarray(np.rint(image * 255), np.uint8)


def time_ms(step: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Run both in alternation and print medians and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    rgb, recipe = smear(), Recipe(mef_version="v1")
    candidates: dict[str, Callable[[], object]] = {
        "MEF v1 (uint8)": lambda: enhance(rgb, recipe),
        "float32 peer": lambda: float_mef(rgb),
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, step in candidates.items():
            times[name].append(time_ms(step))
    ours, peer = (statistics.median(values) for values in times.values())
    for name, values in times.items():
        print(f"{name:16} median {statistics.median(values):6.2f} ms   best {min(values):6.2f} ms")
    print(
        f"ratio peer / ours {peer / ours:.2f}; "
        f"budget of {BUDGET_MS} ms {'kept' if ours <= BUDGET_MS else 'MISSED'}"
    )


if __name__ == "__main__":
    main()

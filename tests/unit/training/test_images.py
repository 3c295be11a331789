"""Loading training images: the cell, its mask, and the cache on disk."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from tests.synthetic_cells import synthetic_cell_with_masks
from training.datasets import Sample
from training.image_cache import ImageCache
from training.images import LONGEST_SIDE, load_image
from training.loader import load_images

PAINTING = synthetic_cell_with_masks("Eosinophil", seed=4, size=240)


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "cell.png"
    cv2.imwrite(str(path), PAINTING.rgb[:, :, ::-1])
    return Sample(path, class_index=1)


@pytest.fixture
def sample_with_mask(sample, tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), PAINTING.levels)
    return replace(sample, mask=tmp_path / "mask.png")


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def assert_alike(one, other):
    np.testing.assert_array_equal(one.rgb, other.rgb)
    assert one.cell == other.cell
    assert one.class_index == other.class_index
    assert one.has_true_mask == other.has_true_mask
    assert (one.mask is None) == (other.mask is None)
    if one.mask is not None:
        np.testing.assert_array_equal(one.mask, other.mask)


def test_our_own_mask_lies_on_the_cell_in_the_frame(sample):
    image = load_image(sample)

    assert not image.has_true_mask
    assert image.mask.shape == image.rgb.shape[:2]
    assert dice(image.mask >= 128, PAINTING.cell) > 0.85


def test_a_true_mask_is_cytoplasm_and_nucleus(sample_with_mask):
    image = load_image(sample_with_mask)

    assert image.has_true_mask
    np.testing.assert_array_equal(image.mask, PAINTING.cell * np.uint8(255))


def test_large_images_and_their_masks_are_kept_smaller(sample_with_mask):
    for path in (sample_with_mask.path, sample_with_mask.mask):
        large = cv2.resize(cv2.imread(str(path)), (900, 900), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(path), large)

    image = load_image(sample_with_mask)

    assert image.rgb.shape == (LONGEST_SIDE, LONGEST_SIDE, 3)
    truth = cv2.resize(PAINTING.cell.astype(np.uint8), (LONGEST_SIDE, LONGEST_SIDE)) > 0
    assert dice(image.mask >= 128, truth) > 0.97


def test_a_mask_of_another_size_is_refused(sample_with_mask):
    cv2.imwrite(str(sample_with_mask.mask), np.zeros((20, 30), np.uint8))

    with pytest.raises(ConfigurationError, match=r"expected a mask of 240 x 240 .* received 20 x 30"):
        load_image(sample_with_mask)


def test_a_frame_without_a_cell_has_no_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((90, 90, 3), 225, np.uint8))

    image = load_image(Sample(tmp_path / "blank.png", class_index=0))

    assert image.cell is None
    assert image.mask is None


@pytest.mark.parametrize("kind", ["own mask", "true mask", "no cell"])
def test_what_comes_from_the_cache_is_what_was_decoded(kind, sample, sample_with_mask, tmp_path):
    chosen = sample_with_mask if kind == "true mask" else sample
    if kind == "no cell":
        cv2.imwrite(str(sample.path), np.full((90, 90, 3), 225, np.uint8))
    decoded = load_image(chosen)

    first, second = (load_images([chosen], cache_dir=tmp_path / "cache")[0] for _ in range(2))

    assert_alike(first, decoded)
    assert_alike(second, decoded)
    assert len(list((tmp_path / "cache").iterdir())) == 1, "one entry, and nothing half-written beside it"


def test_the_second_time_nothing_is_written_and_the_entry_is_what_is_read(sample, tmp_path):
    """Told by an entry whose pixels are others than the image's: only a reader of the entry returns them."""
    cache = ImageCache(tmp_path / "cache")
    cache.load(sample)
    entry = cache.entry(sample)
    with np.load(entry) as content:
        arrays = dict(content)
    arrays["rgb"] = 255 - arrays["rgb"]
    np.savez(entry, **arrays)
    before = entry.stat().st_mtime_ns

    np.testing.assert_array_equal(cache.load(sample).rgb, 255 - PAINTING.rgb)
    assert entry.stat().st_mtime_ns == before


def truncate(entry: Path) -> None:
    os.truncate(entry, entry.stat().st_size // 2)


def flip_a_byte(entry: Path) -> None:
    data = bytearray(entry.read_bytes())
    data[len(data) // 2] ^= 0xFF
    entry.write_bytes(data)


def replace_by_text(entry: Path) -> None:
    entry.write_text("not an entry")


def replace_by_an_array(entry: Path) -> None:
    with entry.open("wb") as file:
        np.save(file, np.zeros(3))


def empty(entry: Path) -> None:
    entry.write_bytes(b"")


def exchange_the_mask(entry: Path) -> None:
    with np.load(entry) as content:
        arrays = dict(content)
    np.savez(entry, **(arrays | {"mask": np.zeros((3, 3), np.uint8)}))


@pytest.mark.parametrize(
    "damage", [truncate, flip_a_byte, replace_by_text, replace_by_an_array, empty, exchange_the_mask]
)
def test_a_broken_entry_is_made_anew(damage, sample, tmp_path):
    cache = ImageCache(tmp_path / "cache")
    intact = cache.load(sample)
    entry = cache.entry(sample)
    content = entry.read_bytes()
    damage(entry)
    assert entry.read_bytes() != content

    assert_alike(cache.load(sample), intact)
    assert_alike(cache.load(sample), intact)
    with np.load(entry) as repaired:
        np.testing.assert_array_equal(repaired["rgb"], intact.rgb)


def test_other_pixels_and_another_mask_have_other_entries_and_another_label_has_not(
    sample, sample_with_mask, tmp_path
):
    cache = ImageCache(tmp_path / "cache")
    entries = [cache.entry(sample), cache.entry(sample_with_mask)]
    cv2.imwrite(str(sample_with_mask.mask), np.zeros((240, 240), np.uint8))
    entries.append(cache.entry(sample_with_mask))
    cv2.imwrite(str(sample.path), PAINTING.rgb)
    entries.append(cache.entry(sample))

    assert len(set(entries)) == 4
    cache.load(sample)
    assert cache.entry(replace(sample, class_index=3)) == entries[3]
    assert cache.load(replace(sample, class_index=3)).class_index == 3


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="file"):
        ImageCache(tmp_path / "file" / "cache")


def test_many_threads_may_fill_one_cache(sample, tmp_path):
    images = load_images([sample] * 12, cache_dir=tmp_path / "cache", workers=6)

    for image in images:
        assert_alike(image, images[0])
    assert len(list((tmp_path / "cache").iterdir())) == 1

import dataclasses

import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.looks import LOOKS, scanner
from orchestrator.painting.smear import paint_cell, photograph
from orchestrator.vision.crop import locate_cell

SEEDS = range(6)


def painted(class_name, look="scanner", seed=0):
    random = np.random.default_rng(seed)
    return paint_cell(class_name, LOOKS[look](random), random)


def cell_area(cell):
    """As a share of the frame."""
    return float((cell.levels > 0).mean())


def nucleus_share(cell):
    return float((cell.levels == 255).sum() / (cell.levels > 0).sum())


def median_colour(cell, level):
    return np.median(cell.rgb[cell.levels == level], axis=0)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_a_painted_cell_comes_with_its_mask_and_its_box(class_name, look):
    cell = painted(class_name, look)

    assert cell.rgb.dtype == cell.levels.dtype == np.uint8
    assert cell.rgb.shape == (*cell.levels.shape, 3)
    assert set(np.unique(cell.levels)) == {0, 128, 255}
    rows, columns = np.nonzero(cell.levels)
    assert cell.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    middle = np.array(cell.levels.shape) / 2
    assert np.abs(np.array([rows.mean(), columns.mean()]) - middle).max() < 0.12 * cell.levels.shape[0]


def test_the_same_seed_paints_the_same_and_another_something_else():
    first, again, other = (painted("Monocyte", "any", seed) for seed in (3, 3, 4))

    assert np.array_equal(first.rgb, again.rgb)
    assert first.attributes == again.attributes
    assert not np.array_equal(first.rgb, other.rgb)


def test_monocytes_are_the_largest_and_lymphocytes_the_smallest():
    areas = {name: np.mean([cell_area(painted(name, seed=s)) for s in range(15)]) for name in CLASS_NAMES}

    assert max(areas, key=areas.__getitem__) == "Monocyte"
    assert min(areas, key=areas.__getitem__) == "Lymphocyte"


def test_lymphocytes_are_nearly_all_nucleus_and_granulocytes_are_not():
    shares = {
        name: np.mean([nucleus_share(painted(name, seed=s)) for s in range(15)])
        for name in ("Lymphocyte", "Neutrophil", "Eosinophil")
    }

    assert shares["Lymphocyte"] > 0.55
    assert max(shares["Neutrophil"], shares["Eosinophil"]) < 0.45


def test_eosinophils_are_redder_than_neutrophils_and_basophils_darker_than_both():
    cytoplasm = {
        name: np.mean([median_colour(painted(name, seed=seed), 128) for seed in SEEDS], axis=0)
        for name in ("Eosinophil", "Neutrophil", "Basophil")
    }

    redness = {name: colour[0] - colour[2] for name, colour in cytoplasm.items()}
    assert redness["Eosinophil"] > redness["Neutrophil"] + 20
    assert cytoplasm["Basophil"].mean() < min(cytoplasm["Eosinophil"].mean(), cytoplasm["Neutrophil"].mean())


def test_attributes_are_the_eleven_of_wbcatt_and_fit_the_class():
    eosinophil, lymphocyte = painted("Eosinophil"), painted("Lymphocyte")

    assert len(eosinophil.attributes) == 11
    assert (eosinophil.attributes["granule_type"], eosinophil.attributes["granule_colour"]) == (
        "round",
        "red",
    )
    assert lymphocyte.attributes["granularity"] == "no"
    monocytes = [painted("Monocyte", seed=seed).attributes["cytoplasm_vacuole"] for seed in range(12)]
    assert set(monocytes) == {"yes", "no"}


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_the_service_finds_a_painted_cell_where_it_is(class_name):
    for seed in SEEDS:
        cell = painted(class_name, seed=seed)
        x0, y0, x1, y1 = cell.box

        found = locate_cell(cell.rgb)

        assert found is not None
        assert np.hypot(found.row - (y0 + y1) / 2, found.column - (x0 + x1) / 2) < 0.3 * max(x1 - x0, y1 - y0)


def test_looks_differ_more_than_cells_do():
    def nuclei(look):
        return np.array([median_colour(painted("Lymphocyte", look, seed), 255) for seed in range(8)])

    scanners, phones = nuclei("scanner"), nuclei("phone")

    assert np.linalg.norm(scanners.mean(0) - phones.mean(0)) > np.linalg.norm(scanners.std(0))


def test_a_photograph_of_nothing_shows_the_field_in_its_colour():
    random = np.random.default_rng(0)
    look = dataclasses.replace(
        scanner(random), shading=0.0, noise=0.0, sharpening=0.0, gamma=1.0, saturation=1.0
    )

    image = photograph(np.zeros((100, 100, 3), np.float32), look, random)

    assert image.shape == (360, 360, 3)
    assert np.abs(image.astype(float) - look.field_rgb).max() <= 2, "JPEG alone changes a flat colour"


def test_density_darkens_as_beer_and_lambert_say():
    random = np.random.default_rng(0)
    look = dataclasses.replace(
        scanner(random), shading=0.0, noise=0.0, sharpening=0.0, gamma=1.0, saturation=1.0, jpeg_quality=None
    )

    image = photograph(np.full((100, 100, 3), np.log(2), np.float32), look, random)

    assert np.abs(image.astype(float) - look.field_rgb / 2).max() <= 0.51


def test_a_class_that_nobody_paints_is_an_error():
    random = np.random.default_rng(0)

    with pytest.raises(KeyError):
        paint_cell("Blast", scanner(random), random)

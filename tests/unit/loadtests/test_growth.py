"""The laws by which cost grows."""

import numpy as np
import pytest

from loadtests.growth import fitted_line, fitted_scalability, framed, scalability
from loadtests.images import painted_cells
from orchestrator.vision.decode import decode


def test_the_law_of_scaling_is_found_again_in_what_follows_it():
    clients = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    rates = [float(scalability(np.array(n), 20.0, 0.2, 0.001)) for n in clients]

    found = fitted_scalability("clients", "clients", clients, rates)

    assert found.law is not None
    assert found.law(np.array(clients)) == pytest.approx(rates, rel=1e-3)


def test_two_cores_are_too_few_for_a_law():
    assert fitted_scalability("cores", "cores", (1.0, 2.0), (5.0, 9.0)).law is None


def test_a_line_fits_its_small_values_as_well_as_its_large_ones():
    found = fitted_line("pixels", "million pixels", (0.1, 1.0, 25.0), (21.0, 30.0, 270.0))

    assert found.law is not None
    assert found.law(np.array([0.1, 1.0, 25.0])) == pytest.approx([21.0, 30.0, 270.0], rel=0.01)


def test_a_cell_lies_in_the_middle_of_a_field_of_so_many_pixels():
    cell = painted_cells(per_class=1)[0]

    rgb = decode(framed(cell, 2.0).data).rgb

    side = round(2e6**0.5)
    assert rgb.shape == (side, side, 3)
    inside = rgb[side // 2 - 150 : side // 2 + 150, side // 2 - 150 : side // 2 + 150]
    assert inside.std() > 10
    assert rgb[:400].std() < 5

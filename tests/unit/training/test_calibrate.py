"""The limit of the energy. (What temperature scaling does is tested with routing and publishing.)"""

import numpy as np
import pytest

from training.calibrate import energy_limit


@pytest.mark.parametrize("share", [0.0, 0.03, 0.25])
def test_the_limit_sends_just_the_share_that_was_asked_for_to_review(share):
    energies = np.random.default_rng(0).normal(-8, 2, 1000)

    limit = energy_limit(energies, share)

    assert (energies > limit).mean() == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize("energies", [[], [1.0, float("nan")], [float("inf")]])
def test_energies_are_finite_and_some(energies):
    with pytest.raises(ValueError, match="finite energies"):
        energy_limit(energies)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_leaves_images(share):
    with pytest.raises(ValueError, match="share of images"):
        energy_limit([1.0, 2.0], share)

"""Whether cells look like those of a profile, and what follows for a microscope."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.cell_features import (
    MIN_CELLS,
    FeatureStatistics,
    is_contradicted,
    likeness,
    projection,
    resembled,
)
from orchestrator.domain import DEVICE_UNKNOWN, ModelIdentity
from orchestrator.profiles import load_profiles
from orchestrator.recent_cells import WINDOW, RecentCells
from orchestrator.specimen import CellResult, Specimen, SpecimenCell, SpecimenOrder
from orchestrator.specimens.differential import DifferentialRules, differential

NOW = datetime(2026, 11, 29, tzinfo=UTC)
MODEL = ModelIdentity("wbc", projection().model_version, projection().model_sha256)
AT_ZERO = FeatureStatistics(MODEL.version, ((0.0,) * 4,) * 5, (1.0, 1.0, 1.0, 1.0, 3.0))


def features_at(*place: float) -> np.ndarray:
    """Features that the shipped projection puts there."""
    directions = projection().directions
    return np.asarray(np.linalg.pinv(directions.astype(np.float64)).T @ np.array(place), np.float32)


def test_a_cell_is_compared_with_those_of_the_class_that_it_was_taken_for():
    two_away = features_at(0.0, 2.0, 0.0, 0.0)

    assert likeness(two_away, 4, MODEL, {"a": AT_ZERO}) == {"a": True}
    assert likeness(two_away, 0, MODEL, {"a": AT_ZERO}) == {"a": False}


@pytest.mark.parametrize(
    "model",
    [
        ModelIdentity("wbc", MODEL.version + 1, MODEL.sha256),
        ModelIdentity("wbc", MODEL.version, "ab" * 32),
        ModelIdentity("wbc", MODEL.version + 1, None),
    ],
)
def test_of_another_model_nothing_is_said(model):
    assert likeness(features_at(0, 0, 0, 0), 0, model, {"a": AT_ZERO}) is None


def test_a_server_that_tells_no_hash_is_believed_its_version():
    assert likeness(
        features_at(0, 0, 0, 0), 0, ModelIdentity("wbc", MODEL.version, None), {"a": AT_ZERO}
    ) == {"a": True}
    assert (
        likeness(np.zeros(256, np.float32), 0, ModelIdentity("wbc", MODEL.version, None), {"a": AT_ZERO})
        is None
    )


def test_the_known_devices_have_statistics_of_the_shipped_model_and_the_others_none():
    having = {name for name, profile in load_profiles().items() if profile.features is not None}

    assert having == {"bccd", "cellavision-dm96", "chula", "raabin"}
    for name in having:
        assert load_profiles()[name].features.model_version == MODEL.version


def test_a_few_cells_contradict_nothing_and_offer_nothing():
    unlike, alike = [{"a": False}] * (MIN_CELLS - 1), [{"a": True}] * (MIN_CELLS - 1)

    assert not is_contradicted("a", unlike)
    assert is_contradicted("a", [*unlike, {"a": False}])
    assert resembled(alike) is None
    assert resembled([*alike, {"a": True}]) == "a"


def test_a_profile_without_statistics_is_never_contradicted():
    assert not is_contradicted("default", [{"a": False}] * 100)


def test_half_of_the_cells_are_enough_for_a_profile_but_not_to_offer_it():
    half = [{"a": True}, {"a": False}] * 20

    assert not is_contradicted("a", half)
    assert resembled(half) is None


def test_the_last_cells_of_a_profile_contradict_it_and_are_forgotten(caplog):
    recent = RecentCells()
    with caplog.at_level(logging.WARNING):
        for _ in range(MIN_CELLS):
            recent.add("a", {"a": False, "b": True})
        assert recent.contradicts("a")
        assert recent.resembled("a") == "b"
        assert not recent.contradicts("b")
        assert REGISTRY.get_sample_value("wbc_profile_fit", {"profile": "a"}) == 0
        for _ in range(WINDOW):
            recent.add("a", {"a": True, "b": False})
    assert not recent.contradicts("a")
    assert [("unknown" in line, "again" in line) for line in caplog.messages] == [
        (True, False),
        (False, True),
    ]


def specimen(
    look: Callable[[int], dict[str, bool] | None], count: int = MIN_CELLS, profile: str = "a"
) -> Specimen:
    def cell(number: int) -> SpecimenCell:
        result = CellResult(
            "Neutrophil", (0.0, 0.0, 0.0, 0.0, 1.0), 1.0, -5.0, (), 0.9, 1, (10, 10), MODEL, profile, NOW,
            device_state="known" if profile == "a" else "unknown", looks_like=look(number),
        )  # fmt: skip
        return SpecimenCell(f"c{number}", number, "0" * 64, "analysed", result)

    cells = tuple(cell(number) for number in range(1, count + 1))
    return Specimen("d", SpecimenOrder("S"), "analysed", "local", NOW, cells)


def said(of: Specimen) -> str:
    found = differential(of.judged(), DifferentialRules(), NOW)
    return " ".join(one.message for one in found.limitations if one.code == DEVICE_UNKNOWN)


def test_a_specimen_whose_cells_contradict_its_profile_waits_for_a_person_in_full():
    judged = specimen(lambda _: {"a": False, "b": True}).judged()

    assert judged.device_state == "unknown"
    assert all(cell.needs_review and cell.result.review_codes == (DEVICE_UNKNOWN,) for cell in judged.cells)
    assert "profile `a`" in said(judged)
    assert "choose it" in said(judged)
    assert "profile `b`" in said(judged)


def test_a_specimen_that_fits_or_is_small_or_old_stays_as_it_is():
    for fitting in (
        specimen(lambda number: {"a": number % 2 == 0}),
        specimen(lambda _: {"a": False}, count=MIN_CELLS - 1),
        specimen(lambda _: None, count=100),
    ):
        assert fitting.judged() is fitting
        assert fitting.device_state == "known"


def test_under_a_profile_of_no_device_the_one_that_fits_is_offered():
    assert "choose it" in said(specimen(lambda _: {"a": True}, profile="default"))
    assert "choose it" not in said(specimen(lambda _: {"a": False}, profile="default"))

"""Where a heatmap lies, and whether that is where a class is recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import MIN_FOCUS_RATIO, Focus, FocusShares
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.report.morphology import MORPHOLOGY
from orchestrator.report.plausibility import Agreement, Place, agreement, place_of


def focus(nucleus: float, cytoplasm: float, background: float, ratio: float | None = None) -> Focus:
    shares = FocusShares(nucleus, cytoplasm, background)
    return Focus(nucleus + cytoplasm if ratio is None else ratio, shares)


@pytest.mark.parametrize(
    ("shares", "place"),
    [
        ((0.5, 0.3, 0.2), "nucleus"),
        ((0.49, 0.31, 0.2), "spread"),
        ((0.3, 0.5, 0.2), "cytoplasm"),
        ((0.4, 0.4, 0.2), "spread"),
        ((0.3, 0.24, 0.46), "background"),
        ((0.3, 0.26, 0.44), "spread"),
        ((0.52, 0.04, 0.44), "nucleus"),
        ((0.0, 0.0, 1.0), "background"),
        ((0.0, 0.0, 0.0), "nowhere"),
    ],
)
def test_the_place_is_the_region_with_the_majority(shares: tuple[float, float, float], place: Place) -> None:
    assert place_of(focus(*shares)) == place


def test_a_low_focus_ratio_means_background_whatever_the_shares() -> None:
    assert place_of(focus(0.6, 0.3, 0.1, ratio=0.54)) == "background"


def test_a_focus_ratio_at_the_limit_is_not_called_background() -> None:
    assert place_of(focus(0.3, 0.26, 0.44, ratio=MIN_FOCUS_RATIO)) == "spread"


@pytest.mark.parametrize(
    ("name", "nucleus", "cytoplasm", "verdict"),
    [
        ("Neutrophil", 0.7, 0.2, "agrees"),
        ("Neutrophil", 0.3, 0.5, "partly"),
        ("Neutrophil", 0.1, 0.8, "disagrees"),
        ("Lymphocyte", 0.7, 0.2, "agrees"),
        ("Lymphocyte", 0.1, 0.8, "partly"),
        ("Lymphocyte", 0.15, 0.45, "disagrees"),
        ("Monocyte", 0.7, 0.2, "agrees"),
        ("Monocyte", 0.1, 0.8, "partly"),
        ("Eosinophil", 0.6, 0.3, "agrees"),
        ("Eosinophil", 0.3, 0.6, "agrees"),
        ("Eosinophil", 0.8, 0.1, "partly"),
        ("Eosinophil", 0.1, 0.8, "partly"),
        ("Basophil", 0.8, 0.1, "agrees"),
        ("Basophil", 0.1, 0.8, "agrees"),
        ("Basophil", 0.15, 0.15, "partly"),
        ("Basophil", 0.05, 0.1, "disagrees"),
    ],
)
def test_agreement_compares_the_heatmap_with_where_the_class_is_recognised(
    name: str, nucleus: float, cytoplasm: float, verdict: Agreement
) -> None:
    assert agreement(MORPHOLOGY[name], FocusShares(nucleus, cytoplasm, 1 - nucleus - cytoplasm)) == verdict


@given(st.sampled_from(CLASS_NAMES), st.floats(0, 1), st.floats(0, 1))
def test_moving_mass_from_the_background_onto_the_nucleus_never_worsens_agreement(
    name: str, nucleus: float, moved: float
) -> None:
    """Every class has a decisive structure in the nucleus."""
    order: tuple[Agreement, ...] = ("disagrees", "partly", "agrees")
    more = nucleus + moved * (1 - nucleus)
    before = agreement(MORPHOLOGY[name], FocusShares(nucleus, 0.0, 1 - nucleus))
    after = agreement(MORPHOLOGY[name], FocusShares(more, 0.0, 1 - more))
    assert order.index(after) >= order.index(before)

"""Averaging, calibration and routing: examples, and properties over all distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.domain import Finding, ModelIdentity, Prediction, ReviewReason, RoutingMode
from orchestrator.errors import ConfigurationError, ContractViolation
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL, NUM_CLASSES
from orchestrator.routing import AveragedPrediction, RoutingPolicy, average, calibrate, route

BASOPHIL, EOSINOPHIL, MONOCYTE = (CLASS_NAMES.index(n) for n in ("Basophil", "Eosinophil", "Monocyte"))
MODES: tuple[RoutingMode, ...] = ("none", "main", "aux")

unit = st.floats(0, 1)
temperatures = st.floats(1e-3, 1e3)
modes = st.sampled_from(MODES)


@st.composite
def distributions(draw: st.DrawFn) -> tuple[float, ...]:
    """Probabilities of the five classes, zeros and one-hot rows among them."""
    weights = np.array(draw(st.lists(st.one_of(st.just(0.0), st.floats(1e-30, 1)), min_size=5, max_size=5)))
    if not weights.any():
        weights[draw(st.integers(0, NUM_CLASSES - 1))] = 1
    return tuple(float(p) for p in weights / weights.sum())


policies = st.builds(
    RoutingPolicy, modes, temperature=temperatures, review_threshold=unit, review_margin=unit
)
averaged_predictions = st.builds(AveragedPrediction, distributions(), unit)


def prediction(main_out: object, aux_out: object) -> Prediction:
    return Prediction(
        np.asarray(main_out, np.float32), np.asarray(aux_out, np.float32), None, ModelIdentity("wbc", 1, None)
    )


def decide(
    probabilities: dict[int, float],
    mode: RoutingMode = "none",
    aux: float = 0.5,
    threshold: float = 0.6,
    margin: float = 0.15,
    temperature: float = 1.0,
) -> Finding:
    full = tuple(probabilities.get(i, 0.0) for i in range(NUM_CLASSES))
    policy = RoutingPolicy(mode, temperature=temperature, review_threshold=threshold, review_margin=margin)
    return route(AveragedPrediction(full, aux), policy)


def codes(finding: Finding) -> list[str]:
    return [reason.code for reason in finding.review_reasons]


class TestRoutingPolicy:
    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
    def test_temperature_must_be_positive_and_finite(self, temperature: float) -> None:
        with pytest.raises(ConfigurationError, match=r"temperature: expected .* received"):
            RoutingPolicy("none", temperature=temperature, review_threshold=0.6)

    @pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
    def test_threshold_and_margin_are_shares(self, value: float) -> None:
        with pytest.raises(ConfigurationError, match="review_threshold"):
            RoutingPolicy("none", review_threshold=value)
        with pytest.raises(ConfigurationError, match="review_margin"):
            RoutingPolicy("none", review_threshold=0.6, review_margin=value)

    def test_unknown_mode_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="none, main, aux, received 'best'"):
            RoutingPolicy("best", review_threshold=0.6)  # type: ignore[arg-type]


class TestAverage:
    def test_is_the_mean_over_views(self) -> None:
        averaged = average(prediction([[0.2, 0, 0, 0, 0.8], [0.4, 0, 0, 0.2, 0.4]], [0.5, 1.0]))
        assert averaged.probabilities == pytest.approx((0.3, 0, 0, 0.1, 0.6))
        assert averaged.aux_neutrophil == pytest.approx(0.75)

    def test_a_softmax_rounded_to_bfloat16_is_accepted_and_sums_to_one(self) -> None:
        averaged = average(prediction([[0.2012, 0.2012, 0.2012, 0.2012, 0.1992]], [1.001]))
        assert sum(averaged.probabilities) == pytest.approx(1, abs=1e-12)
        assert averaged.aux_neutrophil == 1

    @pytest.mark.parametrize("shape", [(5,), (1, 4), (1, 6), (0, 5), (1, 5, 1)])
    def test_wrong_shape_of_main_out_violates_the_contract(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ContractViolation, match="main_out: expected shape"):
            average(prediction(np.full(shape, 0.2), np.zeros(1)))

    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
    def test_wrong_shape_of_aux_out_violates_the_contract(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ContractViolation, match="aux_binary_out: expected shape"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(shape)))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.1, 1.5])
    def test_one_value_that_is_no_probability_violates_the_contract(self, bad: float) -> None:
        main = np.full((8, 5), 0.2)
        aux = np.full(8, 0.5)
        main[3, 2] = bad
        with pytest.raises(ContractViolation, match="main_out"):
            average(prediction(main, aux))
        aux[5] = bad
        with pytest.raises(ContractViolation, match="aux_binary_out"):
            average(prediction(np.full((8, 5), 0.2), aux))

    def test_logits_instead_of_probabilities_violate_the_contract(self) -> None:
        with pytest.raises(ContractViolation, match="sum to 1"):
            average(prediction([[0.9, 0.9, 0.1, 0.1, 0.1]], [0.5]))

    @given(
        hnp.arrays(np.float64, (8, 5), elements=st.floats(1e-6, 1)), hnp.arrays(np.float64, 8, elements=unit)
    )
    def test_lies_between_the_views(self, weights: np.ndarray, aux: np.ndarray) -> None:
        main = weights / weights.sum(axis=1, keepdims=True)
        averaged = average(prediction(main, aux))
        assert sum(averaged.probabilities) == pytest.approx(1, abs=1e-9)
        assert (np.array(averaged.probabilities) >= main.min(axis=0) - 1e-6).all()
        assert (np.array(averaged.probabilities) <= main.max(axis=0) + 1e-6).all()
        assert aux.min() - 1e-6 <= averaged.aux_neutrophil <= aux.max() + 1e-6


class TestCalibrate:
    @given(hnp.arrays(np.float64, 5, elements=st.floats(-20, 20)), st.floats(0.2, 5))
    def test_equals_the_softmax_of_the_scaled_logits(self, logits: np.ndarray, temperature: float) -> None:
        def softmax(z: np.ndarray) -> np.ndarray:
            e = np.exp(z - z.max())
            return np.asarray(e / e.sum())

        assert calibrate(softmax(logits), temperature) == pytest.approx(
            softmax(logits / temperature), abs=1e-9
        )

    @given(distributions())
    def test_temperature_one_changes_nothing(self, p: tuple[float, ...]) -> None:
        assert calibrate(np.array(p), 1.0) == pytest.approx(np.array(p), abs=1e-12)

    @given(distributions(), st.floats(1e-300, 1e300))
    def test_is_a_distribution_that_keeps_the_order(self, p: tuple[float, ...], temperature: float) -> None:
        scaled = calibrate(np.array(p), temperature)
        assert scaled.sum() == pytest.approx(1, abs=1e-9)
        assert ((scaled >= 0) & (scaled <= 1)).all()
        assert (np.diff(scaled[np.argsort(p, kind="stable")]) >= 0).all()
        assert (scaled[np.array(p) == 0] == 0).all()

    def test_calibrates_each_row_of_a_batch_as_if_alone(self) -> None:
        rows = np.array([[0.1, 0.2, 0.3, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0, 1.0]])
        assert calibrate(rows, 2.0) == pytest.approx(np.stack([calibrate(row, 2.0) for row in rows]))

    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
    def test_refuses_a_temperature_that_is_none(self, temperature: float) -> None:
        with pytest.raises(ValueError, match="temperature"):
            calibrate(np.full(5, 0.2), temperature)

    @pytest.mark.parametrize(
        "row", [[0.0] * 5, [math.nan, 1, 0, 0, 0], [-0.5, 1.5, 0, 0, 0], [math.inf, 0, 0, 0, 0]]
    )
    def test_refuses_rows_that_are_no_distribution(self, row: list[float]) -> None:
        with pytest.raises(ValueError, match="finite probabilities"):
            calibrate(np.array(row), 1.0)


class TestRoute:
    @given(averaged_predictions, policies)
    def test_every_finding_is_a_distribution_over_the_five_classes(
        self, averaged: AveragedPrediction, policy: RoutingPolicy
    ) -> None:
        finding = route(averaged, policy)
        assert len(finding.probabilities) == NUM_CLASSES
        assert all(0 <= p <= 1 for p in finding.probabilities)
        assert sum(finding.probabilities) == pytest.approx(1, abs=1e-6)
        assert finding.confidence == max(finding.probabilities)
        assert finding.decided_by == policy.mode

    @given(averaged_predictions, policies)
    def test_review_says_low_confidence_and_close_call_exactly_where_they_hold(
        self, averaged: AveragedPrediction, policy: RoutingPolicy
    ) -> None:
        finding = route(averaged, policy)
        assert ("low_confidence" in codes(finding)) == (finding.confidence < policy.review_threshold)
        assert ("close_call" in codes(finding)) == (finding.margin < policy.review_margin)

    @given(averaged_predictions, unit, temperatures)
    def test_none_takes_the_most_probable_class_whatever_the_temperature(
        self, averaged: AveragedPrediction, threshold: float, temperature: float
    ) -> None:
        finding = route(averaged, RoutingPolicy("none", temperature=temperature, review_threshold=threshold))
        assert averaged.probabilities[finding.class_index] == pytest.approx(max(averaged.probabilities))
        assert "outside_routed_classes" not in codes(finding)

    @given(averaged_predictions, st.sampled_from(["main", "aux"]), temperatures)
    def test_main_and_aux_choose_only_between_lymphocyte_and_neutrophil(
        self, averaged: AveragedPrediction, mode: RoutingMode, temperature: float
    ) -> None:
        finding = route(averaged, RoutingPolicy(mode, temperature=temperature, review_threshold=0.6))
        assert finding.class_index in (LYMPHOCYTE, NEUTROPHIL)
        assert all(finding.probabilities[i] == 0 for i in (BASOPHIL, EOSINOPHIL, MONOCYTE))

    def test_main_renormalises_the_two_classes(self) -> None:
        finding = decide({LYMPHOCYTE: 0.15, NEUTROPHIL: 0.45, MONOCYTE: 0.4}, "main", aux=0.0)
        assert finding.class_name == "Neutrophil"
        assert finding.probabilities == pytest.approx((0, 0, 0.25, 0, 0.75))
        assert codes(finding) == []

    def test_main_equals_renormalising_after_calibration(self) -> None:
        finding = decide({LYMPHOCYTE: 0.2, NEUTROPHIL: 0.5, MONOCYTE: 0.3}, "main", temperature=2.0)
        calibrated = calibrate(np.array([0, 0, 0.2, 0.3, 0.5]), 2.0)
        assert finding.confidence == pytest.approx(
            calibrated[NEUTROPHIL] / calibrated[[LYMPHOCYTE, NEUTROPHIL]].sum()
        )

    def test_main_keeps_the_order_where_calibration_alone_would_underflow(self) -> None:
        finding = decide({MONOCYTE: 0.98, NEUTROPHIL: 0.012, LYMPHOCYTE: 0.008}, "main", temperature=0.001)
        assert finding.class_name == "Neutrophil"
        assert finding.confidence == pytest.approx(1)

    def test_main_with_neither_class_in_sight_is_undecided_and_says_so(self) -> None:
        finding = decide({MONOCYTE: 1.0}, "main")
        assert finding.confidence == 0.5
        assert codes(finding) == ["outside_routed_classes", "low_confidence", "close_call"]

    @pytest.mark.parametrize(
        ("aux", "name"), [(0.0, "Lymphocyte"), (0.49, "Lymphocyte"), (0.5, "Neutrophil"), (1.0, "Neutrophil")]
    )
    def test_aux_decides_for_neutrophil_from_one_half_on(self, aux: float, name: str) -> None:
        finding = decide({LYMPHOCYTE: 0.5, NEUTROPHIL: 0.5}, "aux", aux)
        assert finding.class_name == name
        assert finding.probabilities == pytest.approx((0, 0, 1 - aux, 0, aux))

    def test_routing_away_from_most_of_the_probability_is_marked(self) -> None:
        finding = decide({EOSINOPHIL: 0.3, MONOCYTE: 0.28, NEUTROPHIL: 0.42}, "main")
        assert codes(finding) == ["outside_routed_classes"]
        message = finding.review_reasons[0].message
        assert "42.0 %" in message
        assert "Eosinophil (30.0 %)" in message

    def test_routing_away_from_the_preferred_class_is_marked_even_if_the_pair_has_more_together(self) -> None:
        finding = decide({MONOCYTE: 0.45, NEUTROPHIL: 0.42, LYMPHOCYTE: 0.13}, "aux", aux=0.99)
        assert codes(finding) == ["outside_routed_classes"]
        assert "Monocyte (45.0 %)" in finding.review_reasons[0].message

    def test_low_confidence_names_both_figures(self) -> None:
        finding = decide({MONOCYTE: 0.55, LYMPHOCYTE: 0.2, NEUTROPHIL: 0.25})
        assert codes(finding) == ["low_confidence"]
        assert "55.0 %" in finding.review_reasons[0].message
        assert "60.0 %" in finding.review_reasons[0].message

    def test_close_call_names_both_classes_the_better_first(self) -> None:
        finding = decide({MONOCYTE: 0.52, LYMPHOCYTE: 0.48}, threshold=0.5)
        assert codes(finding) == ["close_call"]
        message = finding.review_reasons[0].message
        assert message.index("Monocyte (52.0 %)") < message.index("Lymphocyte (48.0 %)")

    def test_a_margin_or_confidence_exactly_at_the_limit_is_accepted(self) -> None:
        assert codes(decide({MONOCYTE: 0.75, LYMPHOCYTE: 0.25}, threshold=0.75, margin=0.5)) == []

    def test_temperature_softens_a_confident_result_into_review(self) -> None:
        sharp = {MONOCYTE: 0.8, LYMPHOCYTE: 0.1, NEUTROPHIL: 0.1}
        assert not decide(sharp).needs_review
        assert codes(decide(sharp, temperature=3.0)) == ["low_confidence"]

    @pytest.mark.parametrize("mode", MODES)
    def test_quality_reasons_are_kept_and_stand_first(self, mode: RoutingMode) -> None:
        blurred = ReviewReason("blurred", "The image is blurred.")
        averaged = AveragedPrediction((0.2,) * 5, 0.5)
        finding = route(averaged, RoutingPolicy(mode, review_threshold=0.6), [blurred])
        assert finding.review_reasons[0] is blurred
        assert len(finding.review_reasons) > 1

    def test_a_sure_finding_of_a_good_image_needs_no_review(self) -> None:
        assert not decide({NEUTROPHIL: 0.97, MONOCYTE: 0.03}).needs_review

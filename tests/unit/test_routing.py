"""Averaging, calibration and routing: examples, and properties over all distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestrator.domain import (
    Finding,
    Focus,
    FocusShares,
    ModelIdentity,
    Prediction,
    ReviewReason,
    RoutingMode,
)
from orchestrator.errors import ConfigurationError, ContractViolation
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL, NUM_CLASSES
from orchestrator.routing import (
    AveragedPrediction,
    RoutingPolicy,
    average,
    calibrate,
    energy,
    estimate_prior,
    route,
    with_focus_reason,
    with_prior,
)

BASOPHIL, EOSINOPHIL, MONOCYTE = (CLASS_NAMES.index(n) for n in ("Basophil", "Eosinophil", "Monocyte"))
MODES: tuple[RoutingMode, ...] = ("none", "main", "aux", "prior")
EQUAL = (0.2,) * NUM_CLASSES

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


def policy_of(mode: RoutingMode, **changes: object) -> RoutingPolicy:
    """A policy, with equal shares where the mode needs some."""
    shares = {"prior": EQUAL, "training_prior": EQUAL} if mode == "prior" else {}
    return RoutingPolicy(mode, **{"review_threshold": 0.6, **shares, **changes})  # type: ignore[arg-type]


energies = st.floats(-50, 50)
policies = st.builds(
    policy_of,
    modes,
    temperature=temperatures,
    review_threshold=unit,
    review_margin=unit,
    max_energy=st.none() | energies,
)
FEATURES = np.ones(3, np.float32)
averaged_predictions = st.builds(AveragedPrediction, distributions(), unit, energies, unit, st.just(FEATURES))


def prediction(main_out: object, aux_out: object, logits: object = None, **changes: object) -> Prediction:
    main = np.asarray(main_out, np.float32)
    return Prediction(
        main,
        np.asarray(aux_out, np.float32),
        np.zeros_like(main) if logits is None else np.asarray(logits, np.float32),
        np.asarray(changes.get("not_wbc", np.zeros(len(main))), np.float32),
        np.asarray(changes.get("features", np.ones((len(main), 3))), np.float32),
        None,
        ModelIdentity("wbc", 1, None),
    )


def decide(
    probabilities: dict[int, float],
    mode: RoutingMode = "none",
    aux: float = 0.5,
    threshold: float = 0.6,
    margin: float = 0.15,
    temperature: float = 1.0,
    not_wbc: float = 0.0,
    **changes: object,
) -> Finding:
    full = tuple(probabilities.get(i, 0.0) for i in range(NUM_CLASSES))
    policy = policy_of(
        mode, temperature=temperature, review_threshold=threshold, review_margin=margin, **changes
    )
    return route(AveragedPrediction(full, aux, energy=-5.0, not_wbc=not_wbc, features=FEATURES), policy)


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
        with pytest.raises(ConfigurationError, match="max_not_wbc"):
            RoutingPolicy("none", review_threshold=0.6, max_not_wbc=value)

    def test_unknown_mode_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="none, main, aux, prior, received 'best'"):
            RoutingPolicy("best", review_threshold=0.6)  # type: ignore[arg-type]

    @pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf])
    def test_an_energy_limit_is_finite(self, limit: float) -> None:
        with pytest.raises(ConfigurationError, match="max_energy: expected a finite number"):
            RoutingPolicy("none", review_threshold=0.6, max_energy=limit)

    @pytest.mark.parametrize("name", ["prior", "training_prior"])
    @pytest.mark.parametrize(
        "shares",
        [(0.5, 0.5), (0.3,) * 5, (0.0, 0.25, 0.25, 0.25, 0.25), (-0.2, 0.3, 0.3, 0.3, 0.3), (math.nan,) * 5],
    )
    def test_shares_of_classes_are_positive_and_sum_to_one(
        self, name: str, shares: tuple[float, ...]
    ) -> None:
        with pytest.raises(ConfigurationError, match=f"^{name}: expected 5 numbers over 0 that sum to 1"):
            policy_of("prior", **{name: shares})

    @pytest.mark.parametrize("name", ["prior", "training_prior"])
    def test_shares_of_classes_belong_to_mode_prior_and_to_no_other(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=f"^{name}: expected a value with mode"):
            policy_of("prior", **{name: None})
        with pytest.raises(ConfigurationError, match=f"^{name}: expected only with mode"):
            policy_of("main", **{name: EQUAL})


class TestAverage:
    def test_is_the_mean_over_views(self) -> None:
        averaged = average(prediction([[0.2, 0, 0, 0, 0.8], [0.4, 0, 0, 0.2, 0.4]], [0.5, 1.0]))
        assert averaged.probabilities == pytest.approx((0.3, 0, 0, 0.1, 0.6))
        assert averaged.aux_neutrophil == pytest.approx(0.75)

    def test_what_speaks_against_a_white_cell_and_the_features_are_means_too(self) -> None:
        views = prediction(
            np.full((2, 5), 0.2), [0.5, 0.5], not_wbc=[0.2, 0.6], features=[[1.0, 2.0], [3.0, 6.0]]
        )
        averaged = average(views)
        assert averaged.not_wbc == pytest.approx(0.4)
        assert averaged.features == pytest.approx(np.array([2.0, 4.0]))
        assert averaged.features.dtype == np.float32

    @pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5])
    def test_a_not_wbc_that_is_no_probability_violates_the_contract(self, bad: float) -> None:
        with pytest.raises(ContractViolation, match="not_wbc: expected probabilities"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(2), not_wbc=[0.0, bad]))
        with pytest.raises(ContractViolation, match="not_wbc: expected shape"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(2), not_wbc=[0.0]))

    @pytest.mark.parametrize("features", [[[1.0]], [1.0, 2.0], [[1.0], [math.nan]]])
    def test_features_of_another_shape_or_no_numbers_violate_the_contract(self, features: object) -> None:
        with pytest.raises(ContractViolation, match="features: expected finite numbers"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(2), features=features))

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

    def test_the_energy_is_the_mean_of_the_views_energies(self) -> None:
        logits = [[0.0, 0, 0, 0, 0], [3.0, -1, 0, 0, 1]]
        averaged = average(prediction(np.full((2, 5), 0.2), [0.5, 0.5], logits))
        expected = -np.mean([math.log(5), math.log(math.exp(3) + math.exp(-1) + 2 + math.exp(1))])
        assert averaged.energy == pytest.approx(expected)

    @pytest.mark.parametrize("shape", [(5,), (2, 4), (1, 5), (3, 5)])
    def test_wrong_shape_of_logits_violates_the_contract(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ContractViolation, match="logits: expected shape"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(2), np.zeros(shape)))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_a_logit_that_is_not_finite_violates_the_contract(self, bad: float) -> None:
        logits = np.zeros((2, 5))
        logits[1, 3] = bad
        with pytest.raises(ContractViolation, match="logits: expected finite"):
            average(prediction(np.full((2, 5), 0.2), np.zeros(2), logits))

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

    @given(averaged_predictions, policies)
    def test_review_says_out_of_distribution_exactly_where_the_energy_is_over_the_limit(
        self, averaged: AveragedPrediction, policy: RoutingPolicy
    ) -> None:
        finding = route(averaged, policy)
        over = policy.max_energy is not None and averaged.energy > policy.max_energy
        assert ("out_of_distribution" in codes(finding)) == over
        assert finding.energy == averaged.energy

    def test_an_energy_over_the_limit_is_named_with_the_limit(self) -> None:
        sure: dict[int, float] = {NEUTROPHIL: 1.0}
        finding = decide(sure, max_energy=-5.5)
        assert codes(finding) == ["out_of_distribution"]
        assert "energy -5.00, limit -5.50" in finding.review_reasons[0].message
        assert codes(decide(sure, max_energy=-5.0)) == []

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

    @pytest.mark.parametrize(
        ("not_wbc", "limit", "over"), [(0.5, 0.5, False), (0.51, 0.5, True), (1, 1, False)]
    )
    def test_review_says_not_wbc_exactly_where_it_is_over_the_limit(
        self, not_wbc: float, limit: float, over: bool
    ) -> None:
        finding = decide({NEUTROPHIL: 1.0}, not_wbc=not_wbc, max_not_wbc=limit)
        assert finding.not_wbc == not_wbc
        assert codes(finding) == (["not_wbc"] if over else [])
        assert finding.class_name == "Neutrophil"

    def test_the_reason_names_the_probability(self) -> None:
        (reason,) = decide({NEUTROPHIL: 1.0}, not_wbc=0.834).review_reasons
        assert reason.message.startswith("What is shown may be none of the five classes (83.4 %): ")

    def test_temperature_softens_a_confident_result_into_review(self) -> None:
        sharp = {MONOCYTE: 0.8, LYMPHOCYTE: 0.1, NEUTROPHIL: 0.1}
        assert not decide(sharp).needs_review
        assert codes(decide(sharp, temperature=3.0)) == ["low_confidence"]

    @pytest.mark.parametrize("mode", MODES)
    def test_quality_reasons_are_kept_and_stand_first(self, mode: RoutingMode) -> None:
        blurred = ReviewReason("blurred", "The image is blurred.")
        averaged = AveragedPrediction((0.2,) * 5, 0.5, 0.0, 0.0, FEATURES)
        finding = route(averaged, policy_of(mode, max_energy=-1.0), [blurred])
        assert finding.review_reasons[0] is blurred
        assert len(finding.review_reasons) > 1

    def test_a_sure_finding_of_a_good_image_needs_no_review(self) -> None:
        assert not decide({NEUTROPHIL: 0.97, MONOCYTE: 0.03}).needs_review

    def test_prior_weighs_the_calibrated_probabilities_and_says_that_it_decided(self) -> None:
        prior = (0.01, 0.04, 0.3, 0.05, 0.6)
        finding = decide(
            {MONOCYTE: 0.5, NEUTROPHIL: 0.4, LYMPHOCYTE: 0.1}, "prior", temperature=2.0, prior=prior
        )
        calibrated = calibrate(np.array([0, 0, 0.1, 0.5, 0.4]), 2.0)
        assert finding.probabilities == pytest.approx(with_prior(calibrated, prior, EQUAL))
        assert finding.class_name == "Neutrophil"
        assert finding.decided_by == "prior"

    def test_equal_shares_here_and_in_training_change_nothing(self) -> None:
        probabilities = {MONOCYTE: 0.7, NEUTROPHIL: 0.3}
        assert decide(probabilities, "prior").probabilities == pytest.approx(
            decide(probabilities, "none").probabilities
        )


class TestEnergy:
    @given(hnp.arrays(np.float64, (3, 5), elements=st.floats(-30, 30)))
    def test_is_the_negative_logarithm_of_the_sum_of_exponentials(self, logits: np.ndarray) -> None:
        assert energy(logits) == pytest.approx(-np.log(np.exp(logits).sum(axis=1)))

    def test_huge_logits_neither_overflow_nor_vanish(self) -> None:
        assert energy(np.array([1e4, 0, 0, 0, 0])) == pytest.approx(-1e4)
        assert energy(np.full(5, -1e4)) == pytest.approx(1e4 - math.log(5))
        far_apart = np.array([[1e4, 0, 0, 0, 0], [-1e4] * 5])
        assert energy(far_apart) == pytest.approx([-1e4, 1e4 - math.log(5)])

    def test_tells_apart_what_the_softmax_cannot(self) -> None:
        strong, weak = np.array([9.0, 4, 0, 0, 0]), np.array([9.0, 4, 0, 0, 0]) - 8
        assert energy(weak) == pytest.approx(energy(strong) + 8)


class TestPrior:
    TRAINING = (0.1, 0.2, 0.2, 0.2, 0.3)

    @given(distributions(), st.lists(st.floats(1e-3, 1), min_size=5, max_size=5))
    def test_another_prior_and_back_is_where_it_began(self, p: tuple[float, ...], prior: list[float]) -> None:
        there = with_prior(np.array(p), prior, self.TRAINING)
        assert there.sum() == pytest.approx(1)
        assert with_prior(there, self.TRAINING, prior) == pytest.approx(np.array(p), abs=1e-9)

    def test_is_bayes_rule(self) -> None:
        likelihood = np.array([0.3, 0.1, 0.8, 0.2, 0.4])
        prior = np.array([0.05, 0.05, 0.3, 0.1, 0.5])
        trained = likelihood * self.TRAINING / (likelihood * self.TRAINING).sum()
        there = likelihood * prior / (likelihood * prior).sum()
        assert with_prior(trained, list(prior), self.TRAINING) == pytest.approx(there)

    @pytest.mark.parametrize("shares", [(0.0, 0.25, 0.25, 0.25, 0.25), (math.nan,) * 5])
    def test_a_share_that_is_not_positive_is_refused(self, shares: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="shares over 0"):
            with_prior(np.array(EQUAL), shares, self.TRAINING)
        with pytest.raises(ValueError, match="shares over 0"):
            with_prior(np.array(EQUAL), self.TRAINING, shares)
        with pytest.raises(ValueError, match="training shares over 0"):
            estimate_prior(np.array([EQUAL]), shares)

    def test_rows_that_are_no_distribution_are_refused(self) -> None:
        with pytest.raises(ValueError, match="sum to 1"):
            with_prior(np.full(5, 0.3), EQUAL, EQUAL)
        with pytest.raises(ValueError, match="sum to 1"):
            estimate_prior(np.full((2, 5), 0.3), EQUAL)
        for shape in ((0, 5), (5,)):
            with pytest.raises(ValueError, match="at least one cell"):
                estimate_prior(np.full(shape, 0.2), EQUAL)

    def test_expectation_maximisation_finds_the_shares_of_a_specimen(self) -> None:
        # Gaussian features of five classes: the model's answers are exact for the training shares.
        rng = np.random.default_rng(7)
        true = np.array([0.02, 0.05, 0.3, 0.08, 0.55])
        classes = rng.choice(5, 4000, p=true)
        features = np.eye(5)[classes] * 2.0 + rng.normal(size=(4000, 5))
        posterior = np.exp(2.0 * features) * self.TRAINING
        posterior /= posterior.sum(axis=1, keepdims=True)

        found = estimate_prior(posterior, self.TRAINING)

        assert found.dtype == np.float64
        assert found.sum() == pytest.approx(1)
        assert np.abs(found - true).max() < 0.02
        # The mean answer, which counts as if the specimen were the training set, is far off.
        assert np.abs(posterior.mean(axis=0) - true).max() > 0.05
        right_before = (posterior.argmax(axis=1) == classes).mean()
        right_after = (with_prior(posterior, list(found), self.TRAINING).argmax(axis=1) == classes).mean()
        assert right_after > right_before + 0.02

    def test_answers_as_in_training_leave_the_training_shares(self) -> None:
        sure = np.repeat(np.eye(5), [1, 2, 2, 2, 3], axis=0)
        assert estimate_prior(sure, self.TRAINING) == pytest.approx(np.array(self.TRAINING))

    def test_iterations_and_tolerance_bound_the_work(self) -> None:
        p = np.array([[0.6, 0.1, 0.1, 0.1, 0.1]])
        assert estimate_prior(p, EQUAL, max_iterations=0) == pytest.approx(np.array(EQUAL))
        assert estimate_prior(p, EQUAL, max_iterations=1) == pytest.approx(p[0])
        assert estimate_prior(p, EQUAL, tolerance=1.0) == pytest.approx(p[0])
        assert estimate_prior(p, EQUAL)[0] > 0.999


class TestFocusReason:
    FINDING = Finding(
        NEUTROPHIL, (0, 0, 0, 0, 1), 1.0, -5.0, 0.0, "none", (ReviewReason("blurred", "Blurred."),)
    )

    @staticmethod
    def focus(ratio: float) -> Focus:
        return Focus(ratio, FocusShares(ratio, 0.0, 1 - ratio))

    def test_a_heatmap_beside_the_cell_is_marked_after_the_other_reasons(self) -> None:
        marked = with_focus_reason(self.FINDING, self.focus(0.54))
        assert codes(marked) == ["blurred", "background_focus"]
        assert "54%" in marked.review_reasons[1].message

    def test_a_heatmap_on_the_cell_and_no_heatmap_change_nothing(self) -> None:
        assert with_focus_reason(self.FINDING, self.focus(0.55)) is self.FINDING
        assert with_focus_reason(self.FINDING, None) is self.FINDING

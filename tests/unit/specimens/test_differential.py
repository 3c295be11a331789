"""What a specimen's cells come to."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from orchestrator import __version__
from orchestrator.common.binomial_interval import (
    ERROR_CONFIDENCE,
    clopper_pearson,
    misclassified_share,
    upper_bound,
)
from orchestrator.domain import ModelIdentity
from orchestrator.labels import CELL_LABELS, UNIDENTIFIED, labels_of
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import load_profiles
from orchestrator.routing import RoutingPolicy
from orchestrator.specimen import (
    CellResult,
    ClassCount,
    Differential,
    FieldPlace,
    Range,
    ReleasedErrors,
    Signature,
    Specimen,
    SpecimenCell,
)
from orchestrator.specimens.differential import (
    EQUAL_SHARES,
    DifferentialRules,
    class_shares_of,
    differential,
)
from orchestrator.specimens.reference_ranges import ADULTS, ReferenceRanges
from tests.counted_cells import NOW, cell, counted, result, specimen, suggestion

SHARES = MappingProxyType({"raabin": EQUAL_SHARES, "default": EQUAL_SHARES})
RULES = DifferentialRules(class_shares=SHARES)


def of(subject: Specimen, rules: DifferentialRules = RULES) -> Differential:
    return differential(subject, rules, NOW)


def count(found: Differential, label: str):
    return found.counts[CELL_LABELS.index(label)]


def codes(found: Differential) -> list[str]:
    return [limitation.code for limitation in found.limitations]


def test_counts_percentages_and_exact_intervals():
    found = of(counted(Neutrophil=60, Lymphocyte=34, Monocyte=5, Basophil=1))
    assert [c.label for c in found.counts] == [*CLASS_NAMES, UNIDENTIFIED]
    assert {c.label: c.count for c in found.counts if c.count} == {
        "Neutrophil": 60, "Lymphocyte": 34, "Monocyte": 5, "Basophil": 1,
    }  # fmt: skip
    assert found.cells_counted == 100
    limits = {
        c.label: (c.percentage, round(c.interval.low, 1), round(c.interval.high, 1)) for c in found.counts
    }
    assert limits["Neutrophil"] == (60.0, 49.7, 69.7)
    assert limits["Monocyte"] == (5.0, 1.6, 11.3)
    assert limits["Basophil"] == (1.0, 0.0, 5.4)
    assert limits["Eosinophil"] == (0.0, 0.0, 3.6)
    assert sum(c.percentage for c in found.counts) == pytest.approx(100)


def find(
    number: int,
    of: CellResult,
    *,
    decided: str | None = None,
    is_identified: bool = True,
    same_as: str | None = None,
) -> SpecimenCell:
    """A cell of a field."""
    place = FieldPlace(1, is_cut=False, is_clump=False, is_identified=is_identified, same_as=same_as)
    return replace(cell(number, of, decided=decided), place=place)


def test_a_cell_of_another_field_once_more_counts_nowhere_whatever_was_decided():
    cells = [find(1, result()), find(2, result(), same_as="cell-1", decided="Monocyte")]
    found = of(specimen(cells))
    assert found.cells_counted == 1
    assert count(found, "Monocyte").count == 0


def test_what_does_not_count_is_no_evidence_of_anything():
    suspect = replace(suggestion("Basophil"), looks_like={"raabin": True}, profile="raabin")
    idle = [find(n, suspect, is_identified=False) for n in range(201, 301)]
    idle += [find(n, suspect, same_as="cell-1") for n in range(301, 401)]
    counting = [cell(n, result(("Neutrophil", "Lymphocyte")[n % 2])) for n in range(1, 151)]
    with_idle = specimen([*counting, *idle])
    assert of(with_idle).label_shift == of(specimen(counting)).label_shift
    assert of(with_idle).label_shift is not None
    assert with_idle.resembles is None
    assert specimen([replace(one, place=None) for one in idle]).resembles == "raabin"
    unlike = [replace(one, result=replace(one.result, looks_like={"raabin": False})) for one in idle]
    assert specimen(unlike).contradicted is None
    assert specimen([replace(one, place=None) for one in unlike]).contradicted == "raabin"


def test_it_says_what_made_it():
    older = ModelIdentity("wbc", 3, "b" * 64)
    found = of(specimen([cell(1, result()), cell(2, result(model=older)), cell(3, result())]))
    assert found.models == (result().model, older)
    assert "several_models" in codes(found)
    assert found.service_version == __version__
    assert found.computed_at == NOW
    assert found.reference_source == ADULTS.source
    assert "research use only" in found.disclaimer


@pytest.mark.parametrize(("cells", "given"), [(99, False), (100, True)])
def test_below_the_least_number_of_cells_there_are_counts_and_no_percentages(cells, given):
    found = of(counted(6.0, Neutrophil=cells))
    neutrophils = count(found, "Neutrophil")
    assert neutrophils.count == cells
    assert (neutrophils.percentage is not None) == given
    assert (neutrophils.interval is not None) == given
    assert (neutrophils.absolute is not None) == given
    assert (neutrophils.flag is not None) == given
    assert (found.label_shift is not None) == given
    assert ("too_few_cells" in codes(found)) != given


def test_absolute_counts_only_with_a_total():
    without, with_total = (
        of(counted(Neutrophil=60, Lymphocyte=40)),
        of(counted(6.0, Neutrophil=60, Lymphocyte=40)),
    )
    assert count(without, "Neutrophil").absolute is None
    assert "no_total" in codes(without)
    neutrophils = count(with_total, "Neutrophil")
    assert neutrophils.absolute == pytest.approx(3.6)
    assert neutrophils.absolute_interval.low == pytest.approx(6.0 * neutrophils.interval.low / 100)
    assert neutrophils.absolute_interval.high == pytest.approx(6.0 * neutrophils.interval.high / 100)
    assert "no_total" not in codes(with_total)


def test_an_unsure_cell_is_unidentified_and_part_of_the_whole():
    found = of(counted(Neutrophil=90, Unidentified=10))
    assert count(found, UNIDENTIFIED).count == 10
    assert count(found, UNIDENTIFIED).percentage == 10.0
    assert count(found, "Neutrophil").percentage == 90.0
    assert {"unreviewed", "unidentified"} <= set(codes(found))


def test_a_persons_decision_goes_before_the_services_class():
    cells = [cell(n, result("Neutrophil")) for n in range(1, 101)]
    cells[0] = cell(1, result("Neutrophil"), decided="Monocyte")
    cells[1] = cell(2, result("Neutrophil", review=("close_call",)), decided="Neutrophil")
    cells[2] = cell(3, result("Neutrophil"), decided=UNIDENTIFIED)
    found = of(specimen(cells))
    assert count(found, "Monocyte").count == 1
    assert count(found, "Neutrophil").count == 98
    assert count(found, UNIDENTIFIED).count == 1
    assert found.review_list == ()


def test_the_review_list_begins_with_the_least_confident():
    unsure = ("close_call",)
    cells = [
        cell(1, result(review=unsure, confidence=0.90, margin=0.02)),
        cell(2, result(confidence=0.30)),  # sure enough by the profile's rules
        cell(3, result(review=unsure, confidence=0.55, margin=0.30)),
        cell(4, result(review=unsure, confidence=0.40), decided="Monocyte"),
        cell(5, result(review=unsure, confidence=0.55)),
        cell(6, "The file is empty."),
        cell(7),
    ]
    found = of(specimen(cells, state="running"))
    assert found.review_list == ("cell-3", "cell-5", "cell-1")


def test_on_an_unknown_device_every_cell_waits_for_a_person_however_sure_the_least_confident_first():
    sure = (0.96, 0.51, 0.99, 0.70)
    found = of(specimen(cell(n, suggestion(confidence=p)) for n, p in enumerate(sure, start=1)))
    assert found.review_list == ("cell-2", "cell-4", "cell-1", "cell-3")
    assert count(found, UNIDENTIFIED).count == found.cells_counted == 4
    assert found.specimen.device_state == "unknown"
    said = [limitation.message for limitation in found.limitations if limitation.code == "device_unknown"]
    assert len(said) == 1
    assert "unknown" in said[0]


def test_what_persons_decide_on_an_unknown_device_counts_as_anywhere():
    cells = [cell(n, suggestion(), decided="Neutrophil") for n in range(1, 101)]
    found = of(specimen(cells))
    assert found.review_list == ()
    assert count(found, "Neutrophil").percentage == 100.0


@pytest.mark.parametrize(
    ("states", "least"),
    [
        (("audited", "known"), "known"),
        (("known", "profiled", "audited"), "profiled"),
        (("profiled", "unknown"), "unknown"),
        (("audited",), "audited"),
        ((), None),
    ],
)
def test_a_specimen_is_known_as_far_as_the_least_known_of_its_cells(states, least):
    analysed = [cell(n, result(device_state=state)) for n, state in enumerate(states, start=1)]
    found = of(specimen([*analysed, cell(8), cell(9, "The file is empty.")]))
    assert found.specimen.device_state == least
    assert ("device_unknown" in codes(found)) == (least in ("unknown", "profiled"))


def test_cells_that_wait_or_failed_count_nowhere_and_are_told():
    cells = [*(cell(n, result()) for n in range(1, 101)), cell(101), cell(102, "The file is empty.")]
    found = of(specimen(cells, state="running"))
    assert (found.cells_counted, found.cells_waiting, found.cells_failed) == (100, 1, 1)
    assert count(found, "Neutrophil").percentage == 100.0
    assert {"incomplete", "failed"} <= set(codes(found))


def test_a_decision_about_a_cell_that_still_waits_counts_once_it_is_analysed():
    found = of(specimen([cell(1, decided="Monocyte"), cell(2, result())], state="running"))
    assert (found.cells_counted, found.cells_waiting) == (1, 1)
    assert count(found, "Monocyte").count == 0


def test_a_failed_image_that_a_person_named_is_counted_and_no_failure_any_more():
    found = of(specimen([cell(1, "The file is empty.", decided="Monocyte")]))
    assert (found.cells_counted, found.cells_failed) == (1, 0)
    assert count(found, "Monocyte").count == 1


@pytest.mark.parametrize(("neutrophils", "flag"), [(39, "low"), (40, None), (75, None), (76, "high")])
def test_flags_lie_outside_of_the_sites_range_whose_ends_belong_to_it(neutrophils, flag):
    found = of(counted(Neutrophil=neutrophils, Lymphocyte=100 - neutrophils))
    assert count(found, "Neutrophil").flag == flag
    assert count(found, "Neutrophil").reference == Range(40, 75)


def test_a_class_without_a_range_has_no_flag():
    rules = replace(RULES, reference=ReferenceRanges("own", {"Neutrophil": Range(40, 75)}))
    found = of(counted(Neutrophil=10, Lymphocyte=90), rules)
    assert count(found, "Neutrophil").flag == "low"
    assert count(found, "Lymphocyte").flag is None
    assert count(found, UNIDENTIFIED).reference is None
    assert found.reference_source == "own"


def test_nothing_is_ever_called_normal():
    found = of(counted(6.0, Neutrophil=60, Lymphocyte=30, Monocyte=6, Eosinophil=3, Basophil=1))
    assert not any(c.flag for c in found.counts)
    assert "normal" not in repr(found).lower()
    assert "normal" not in repr(found.limitations).lower()
    assert "five_classes" in codes(found)


def test_each_limitation_says_how_many_it_is_about():
    older = ModelIdentity("wbc", 3, "b" * 64)
    cells = [
        cell(1, result()),
        cell(2, result(model=older)),
        cell(3, result(review=("close_call",))),
        cell(4),
        cell(5, "The file is empty."),
    ]
    said = {one.code: one.message for one in of(specimen(cells, state="running")).limitations}
    assert said == {
        "incomplete": "1 of 5 cells wait to be analysed.",
        "too_few_cells": "3 cells are counted; percentages are given from 100 on.",
        "unreviewed": "1 cells wait for a person's decision.",
        "unidentified": "1 cells are Unidentified; they are part of the whole that shares are of.",
        "failed": "1 images could not be analysed and are not counted.",
        "several_models": "2 models answered: the version changed midway.",
        "no_total": "No total white cell count was given, so there are no absolute counts.",
        "unsigned": "No person has signed this differential.",
        "five_classes": (
            "Five classes are told apart; blasts, bands, immature granulocytes and other cells are not "
            "recognised and may be counted as one of the five."
        ),
    }


def test_nothing_is_said_of_what_is_not_so():
    signed = replace(counted(6.0, Neutrophil=100), state="signed", signature=Signature("ayse", NOW))
    assert codes(of(signed)) == ["five_classes"]


def test_percentages_may_be_given_from_the_first_cell_on():
    found = of(counted(Neutrophil=1), DifferentialRules(min_cells=1))
    assert count(found, "Neutrophil").percentage == 100.0


def test_what_is_signed_or_cancelled_is_told():
    signed = replace(counted(Neutrophil=100), state="signed", signature=Signature("ayse", NOW))
    assert "unsigned" not in codes(of(signed))
    assert "unsigned" in codes(of(counted(Neutrophil=100)))
    cancelled = of(specimen([cell(1, result()), cell(2)], state="cancelled"))
    first = cancelled.limitations[0]
    assert (first.code, first.message) == (
        "cancelled",
        "The differential was cancelled; it is not complete and will not be.",
    )
    assert not {"incomplete", "unsigned"} & set(codes(cancelled))


def test_a_specimen_without_a_result_yet_has_a_differential():
    found = of(specimen([cell(1), cell(2)], state="waiting"))
    assert found.cells_counted == 0
    assert all(c.count == 0 for c in found.counts)
    assert found.label_shift is None


# The label-shift estimate


def drawn_cells(shares, cells=600, sharpness=6.0):
    """Cells of known shares with the answers of a classifier trained on equal shares, calibrated by
    construction: posteriors under Gaussian scores."""
    random = np.random.default_rng(7)
    truth = random.choice(len(shares), size=cells, p=shares)
    scores = random.normal(size=(cells, len(shares)))
    scores[np.arange(cells), truth] += np.sqrt(sharpness)
    likelihoods = np.exp(np.sqrt(sharpness) * scores)
    return truth, likelihoods / likelihoods.sum(axis=1, keepdims=True)


def test_the_estimate_finds_shares_that_the_counts_blur():
    shares = (0.005, 0.03, 0.3, 0.065, 0.6)
    truth, answers = drawn_cells(shares)
    cells = [
        cell(n, result(CLASS_NAMES[int(row.argmax())], probabilities=row))
        for n, row in enumerate(answers, start=1)
    ]
    found = of(specimen(cells))
    true_shares = np.bincount(truth, minlength=5) / len(truth)
    raw = np.array([c.count for c in found.counts[:5]]) / len(truth)
    assert sum(found.label_shift) == pytest.approx(1)
    assert np.abs(np.array(found.label_shift) - true_shares).sum() < np.abs(raw - true_shares).sum()


def test_the_estimate_takes_persons_decisions_as_certain():
    cells = [cell(n, result("Neutrophil"), decided="Monocyte") for n in range(1, 101)]
    shift = dict(zip(CLASS_NAMES, of(specimen(cells)).label_shift, strict=True))
    assert shift["Monocyte"] == pytest.approx(1)
    cells[:50] = [cell(n, result("Neutrophil"), decided=UNIDENTIFIED) for n in range(1, 51)]
    assert of(specimen(cells)).label_shift is None  # fifty are left


def test_there_is_no_estimate_while_a_cell_of_an_unverified_device_waits_for_a_person():
    cells = [cell(n, suggestion(), decided="Neutrophil") for n in range(1, 151)]
    assert of(specimen(cells)).label_shift is not None
    for state in ("unknown", "profiled"):
        waits = cell(151, result(review=("device_unknown",), device_state=state))
        assert of(specimen([*cells, waits])).label_shift is None
    assert of(specimen([*cells, cell(151, result(review=("close_call",)))])).label_shift is not None


def test_there_is_no_estimate_where_the_shares_behind_the_answers_are_unknown_or_mixed():
    alone = [cell(n, result(profile="routed")) for n in range(1, 151)]
    assert of(specimen(alone)).label_shift is None
    rules = replace(RULES, class_shares={"raabin": EQUAL_SHARES, "site": (0.01, 0.03, 0.3, 0.06, 0.6)})
    mixed = [cell(n, result(profile="site" if n % 2 else "raabin")) for n in range(1, 301)]
    assert of(specimen(mixed), rules).label_shift is None


def test_cells_that_wait_or_whose_shares_are_unknown_leave_the_estimate_to_the_others():
    cells = [cell(n, result()) for n in range(1, 101)]
    others = [cell(101), cell(102, result(profile="routed"))]
    assert of(specimen([*others, *cells], state="running")).label_shift == of(specimen(cells)).label_shift
    assert of(specimen(cells)).label_shift is not None


def test_the_shares_behind_a_profiles_answers_follow_from_its_routing():
    default = load_profiles()["default"]
    prior = (0.01, 0.03, 0.3, 0.06, 0.6)

    def routed(mode, **shares):
        policy = RoutingPolicy(mode, review_threshold=0.6, **shares)
        return replace(default, routing=policy)

    profiles = {
        "plain": default,
        "weighed": routed("prior", prior=prior, training_prior=EQUAL_SHARES),
        "pair": routed("main"),
        "aux": routed("aux"),
    }
    training = (0.1, 0.2, 0.3, 0.2, 0.2)
    assert dict(class_shares_of(profiles, training)) == {"plain": training, "weighed": prior}


def test_rules_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="min_cells"):
        DifferentialRules(min_cells=0)


def interval_of(found: Differential, label: str) -> Range:
    interval = count(found, label).interval
    assert interval is not None
    return interval


NONE_OF_99 = 1 - 0.0125 ** (1 / 99)  # the largest error of a class of which the audit found 99 of 99 right


def limits_of(found: Differential) -> dict[str, tuple[float, float]]:
    intervals = {c.label: interval_of(found, c.label) for c in found.counts}
    return {label: (round(one.low, 2), round(one.high, 2)) for label, one in intervals.items()}


def test_where_an_audit_knows_the_classifiers_error_the_intervals_carry_it_too():
    errors = ReleasedErrors({"Neutrophil": NONE_OF_99})
    alone, audited = (differential(counted(Neutrophil=200), RULES, NOW, known) for known in (None, errors))

    assert limits_of(alone)["Neutrophil"] == (98.17, 100.0)
    assert limits_of(alone)["Lymphocyte"] == (0.0, 1.83)
    # 0.0125 ** (1 / 200) = 0.97833 of the share, 0.0125 ** (1 / 99) = 0.95670 of it right
    assert limits_of(audited)["Neutrophil"] == (93.60, 100.0)
    # 1 - 0.97833 of the share, and 0.04330 of the other 0.97833
    assert limits_of(audited)["Lymphocyte"] == (0.0, 6.40)
    assert ("classifier_error" in codes(alone), "classifier_error" in codes(audited)) == (False, True)
    assert audited.released_errors == errors
    assert count(audited, "Neutrophil").percentage == 100.0


def test_each_class_carries_its_own_error_and_the_largest_of_the_others():
    errors = ReleasedErrors({"Neutrophil": 0.02, "Lymphocyte": 0.04})
    cells = counted(12.0, Neutrophil=120, Lymphocyte=60, Unidentified=20)

    found = differential(cells, RULES, NOW, errors)

    low, high = clopper_pearson(120, 200, 0.975)
    neutrophils = interval_of(found, "Neutrophil")
    assert neutrophils.low == pytest.approx(100 * low * 0.98)
    assert neutrophils.high == pytest.approx(100 * (high + (1 - high) * 0.04 * 60 / 80))
    assert count(found, "Neutrophil").absolute_interval.low == pytest.approx(12 * low * 0.98)
    _, high = clopper_pearson(0, 200, 0.975)
    assert interval_of(found, "Basophil").high == pytest.approx(100 * (high + (1 - high) * 0.04 * 180 / 200))


def test_what_a_person_decided_has_no_error_of_the_classifier():
    errors = ReleasedErrors({"Neutrophil": 0.04})
    cells = [cell(n, result(), decided="Neutrophil" if n <= 100 else None) for n in range(1, 201)]

    found = differential(specimen(cells), RULES, NOW, errors)

    low, _ = clopper_pearson(200, 200, 0.975)
    assert interval_of(found, "Neutrophil").low == pytest.approx(100 * low * (1 - 0.04 / 2))


def test_an_audit_that_ended_is_said_instead():
    found = differential(
        counted(Neutrophil=200), RULES, NOW, ReleasedErrors({"Neutrophil": 0.04}, ended=True)
    )
    assert "audit_ended" in codes(found)
    assert "classifier_error" not in codes(found)


def test_below_the_least_number_of_cells_no_interval_carries_anything():
    found = differential(counted(Neutrophil=99), RULES, NOW, ReleasedErrors({"Neutrophil": 0.04}))
    assert "classifier_error" not in codes(found)


def test_the_interval_with_the_classifiers_error_holds_as_often_as_it_says():
    """Simulated: an audit with as many errors as may be, and specimens that are like those of the audit."""
    random, held = np.random.default_rng(5), 0
    truth, wrong_share = 0.6, 0.03
    answered = truth / (1 - wrong_share)  # so many are called so, that the rest is the truth
    for _ in range(1000):
        limit = upper_bound(int(random.binomial(157, wrong_share)), 157, ERROR_CONFIDENCE)
        low, high = misclassified_share(int(random.binomial(200, answered)), 200, limit, 0.0)
        held += low <= truth <= high
    assert held >= 950


def decided(**labels: int) -> list[SpecimenCell]:
    """Cells that the model calls lymphocytes and a person these, with an underscore for a space."""
    names = [name.replace("_", " ") for name, number in labels.items() for _ in range(number)]
    return [cell(n, result("Lymphocyte"), decided=name) for n, name in enumerate(names, start=1)]


def row(found: Differential, label: str) -> ClassCount:
    return next(one for one in found.counts if one.label == label)


def test_neutrophils_are_those_of_that_name_with_bands_and_segmented_ones():
    found = of(specimen(decided(Neutrophil=10, Band=5, Segmented=45, Lymphocyte=40), total_wbc=8.0))
    assert found.cells_counted == 100
    assert (row(found, "Neutrophil").count, row(found, "Neutrophil").percentage) == (60, 60.0)
    assert (row(found, "Band").percentage, row(found, "Segmented").percentage) == (5.0, 45.0)
    assert row(found, "Band").absolute == pytest.approx(0.4)
    assert row(found, "Band").part_of == "Neutrophil"
    low, high = clopper_pearson(5, 100)
    assert row(found, "Band").interval == Range(100 * low, 100 * high)
    assert sum(one.percentage for one in found.counts if one.part_of is None) == pytest.approx(100)
    sentences = {one.code: one.message for one in found.limitations}
    assert "10 of 60 neutrophils are not told apart" in sentences["not_told_apart"]
    assert "not_told_apart" not in codes(of(specimen(decided(Band=5, Segmented=95))))


def test_nucleated_red_cells_are_told_per_100_white_cells_and_are_none_of_them():
    found = of(specimen(decided(Neutrophil=60, Lymphocyte=40, Nucleated_red_cell=150), total_wbc=8.0))
    assert found.cells_counted == 100
    red = row(found, "Nucleated red cell")
    assert (red.count, red.percentage, red.denominator) == (150, 150.0, "per_100_white_cells")
    low, high = clopper_pearson(150, 250)
    assert red.interval == Range(100 * low / (1 - low), 100 * high / (1 - high))
    assert red.interval.low < 150 < red.interval.high
    assert red.absolute is None
    assert row(found, "Neutrophil").percentage == 60.0
    assert {"outside", "uncorrected_total"} <= set(codes(found))


def test_artefacts_and_platelets_are_numbers_alone():
    found = of(specimen(decided(Lymphocyte=100, Artefact=7, Giant_platelet=3)))
    assert found.cells_counted == 100
    assert row(found, "Lymphocyte").percentage == 100.0
    assert row(found, "Lymphocyte").interval == Range(100 * clopper_pearson(100, 100)[0], 100.0)
    for label, number in (("Artefact", 7), ("Giant platelet", 3)):
        one = row(found, label)
        assert (one.count, one.percentage, one.interval, one.absolute) == (number, None, None, None)
    sentences = {one.code: one.message for one in found.limitations}
    assert sentences["outside"].endswith("Giant platelet 3, Artefact 7.")


def test_what_is_outside_of_the_white_cells_does_not_make_them_enough():
    found = of(specimen(decided(Lymphocyte=99, Artefact=50, Nucleated_red_cell=50)))
    assert found.cells_counted == 99
    assert {one.percentage for one in found.counts} == {None}


def test_a_specimen_of_which_no_cell_is_a_white_one_has_no_shares():
    found = of(specimen(decided(Artefact=2, Nucleated_red_cell=1)), DifferentialRules(min_cells=1))
    assert found.cells_counted == 0
    assert {one.percentage for one in found.counts} == {None}


@pytest.mark.parametrize(
    ("rule", "white", "lymphocytes", "share"),
    [
        ("per_100_white_cells", 100, 100, 25.0),
        ("none", 100, 100, None),
        ("white_cells", 125, 100, 20.0),
        ("lymphocytes", 125, 125, 20.0),
    ],
)
def test_smudge_cells_count_by_the_sites_rule(rule, white, lymphocytes, share):
    rules = DifferentialRules(labels=labels_of(smudge=rule))
    found = of(specimen(decided(Lymphocyte=100, Smudge=25)), rules)
    assert found.cells_counted == white
    assert row(found, "Lymphocyte").count == lymphocytes
    assert (row(found, "Smudge").count, row(found, "Smudge").percentage) == (25, share)
    assert sum(one.percentage or 0 for one in found.counts if one.denominator == "white_cells"
               and one.part_of is None) == pytest.approx(100)  # fmt: skip


def test_a_label_that_nobody_used_has_no_row_and_one_that_is_gone_keeps_its_own():
    found = of(specimen(decided(Blast=3, Hairy_cell=2, Lymphocyte=95)))
    assert [one.label for one in found.counts] == [*CELL_LABELS, "Blast", "Hairy cell"]
    assert row(found, "Hairy cell").percentage == 2.0
    ranges = ReferenceRanges("own", MappingProxyType({"Blast": Range(0.0, 0.0)}))
    assert (
        row(of(specimen(decided(Blast=3, Lymphocyte=97)), DifferentialRules(reference=ranges)), "Blast").flag
        == "high"
    )


def test_what_a_person_calls_a_band_is_a_neutrophil_to_the_estimate_and_a_blast_is_none_of_the_five():
    bands = of(specimen(decided(Band=50, Lymphocyte=50, Blast=30, Artefact=30))).label_shift
    assert bands == of(specimen(decided(Neutrophil=50, Lymphocyte=50))).label_shift
    assert bands is not None

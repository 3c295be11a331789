"""What a site's head learns, and what the trust view says of it, on drawn features."""

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.site_head.choosing import suggest
from orchestrator.site_head.examples import Examples
from orchestrator.site_head.learning import applied, learn, softmax
from orchestrator.site_head.trust import judge

FEATURES = 60
BASOPHIL, EOSINOPHIL, LYMPHOCYTE, MONOCYTE, NEUTROPHIL = range(5)


def drawn_cells(per_class=(10, 10, 10, 10, 10), *, seed=0, shifted=True, groups=4, noise=1.0) -> Examples:
    """Cells of a microscope on which, where ``shifted``, the model takes lymphocytes for monocytes: a
    direction of the features tells them apart, and the model does not look at it."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(5), per_class)
    features = rng.normal(size=(len(labels), FEATURES)) * noise
    features[np.arange(len(labels)), labels] += 6
    logits = features[:, :5].copy()
    if shifted:
        both = np.isin(labels, (LYMPHOCYTE, MONOCYTE))
        logits[both, LYMPHOCYTE], logits[both, MONOCYTE] = -3.0, 3.0
    names = tuple(f"specimen {rng.integers(groups)}" for _ in labels)
    ids = tuple(f"cell {number}" for number in range(len(labels)))
    return Examples(features.astype(np.float32)[:, np.newaxis], logits[:, np.newaxis], labels, names, ids)


def accuracy(examples, logits):
    right = logits.argmax(axis=1) == examples.labels
    return np.mean([right[examples.labels == c].mean() for c in np.unique(examples.labels)])


def test_what_the_model_mistakes_on_a_microscope_is_learnt():
    fresh = drawn_cells((40,) * 5, seed=1)

    learnt = learn(drawn_cells())

    assert accuracy(fresh, fresh.mean_logits) == pytest.approx(0.8, abs=0.05)
    assert accuracy(fresh, applied(fresh.mean_features, fresh.mean_logits, learnt.delta)) > 0.9


def test_the_same_cells_give_the_same_bits():
    first, second = learn(drawn_cells()), learn(drawn_cells())

    assert first.delta.tobytes() == second.delta.tobytes()
    assert (first.temperature, first.review_threshold) == (second.temperature, second.review_threshold)
    assert judge(drawn_cells(), first) == judge(drawn_cells(), second)


def test_where_the_model_is_right_its_head_hardly_changes():
    fresh = drawn_cells((40,) * 5, seed=1, shifted=False)

    learnt = learn(drawn_cells(shifted=False))

    said = softmax(applied(fresh.mean_features, fresh.mean_logits, learnt.delta))
    assert np.abs(said - softmax(fresh.mean_logits)).mean() < 0.02


def test_fewer_cells_change_less():
    few, many = (learn(drawn_cells((n,) * 5, noise=2.0)) for n in (5, 40))

    assert np.linalg.norm(few.delta[:-1]) < np.linalg.norm(many.delta[:-1])


@pytest.mark.parametrize("cells", [0, 1, 4])
def test_a_class_with_too_few_examples_stays_as_the_model_has_it(cells):
    examples = drawn_cells((cells, 10, 10, 10, 10))

    learnt = learn(examples)

    assert learnt.learnt == (EOSINOPHIL, LYMPHOCYTE, MONOCYTE, NEUTROPHIL)
    assert not learnt.delta[:, BASOPHIL].any()
    assert np.allclose(learnt.delta.sum(axis=1), 0, atol=1e-4)  # nor does its level against the others move
    assert judge(examples, learnt).kept == ("Basophil",)


def test_one_class_alone_teaches_nothing():
    with pytest.raises(ConfigurationError, match="at least 5 labelled cells of each of two classes"):
        learn(drawn_cells((0, 0, 4, 0, 50)))


def test_a_head_that_is_better_on_specimens_left_out_is_recommended():
    examples = drawn_cells()

    trust = judge(examples, learn(examples))

    assert trust.decision == "recommended"
    assert trust.left_out.gain_interval[0] > 0
    assert trust.left_out.before < trust.left_out.after
    assert trust.left_out.recalls_after[LYMPHOCYTE] > trust.left_out.recalls_before[LYMPHOCYTE]


def test_where_there_is_nothing_to_gain_nothing_is_recommended():
    examples = drawn_cells(shifted=False)

    trust = judge(examples, learn(examples))

    assert trust.decision == "not better"
    assert "95 % confidence" in trust.why


def test_chance_is_not_taken_for_a_gain():
    """Labels drawn at random: none of ten such sites is told that its head is better."""
    recommended = 0
    for seed in range(10):
        examples = drawn_cells((6,) * 5, seed=seed, groups=6)
        labels = np.random.default_rng(seed + 1000).permutation(examples.labels)
        examples = replace(examples, labels=labels)
        recommended += judge(examples, learn(examples)).decision == "recommended"

    assert recommended == 0


def test_cells_of_one_specimen_prove_nothing():
    examples = drawn_cells(groups=1)

    trust = judge(examples, learn(examples))

    assert trust.decision == "too few"
    assert "specimen" in trust.why


def test_a_class_that_one_specimen_alone_has_proves_nothing():
    examples = drawn_cells()
    groups = [
        "specimen 9" if label == MONOCYTE else group
        for group, label in zip(examples.groups, examples.labels, strict=True)
    ]

    examples = replace(examples, groups=tuple(groups))

    assert judge(examples, learn(examples)).decision == "too few"


def test_a_hold_out_on_which_it_is_worse_speaks_last():
    examples = drawn_cells()
    learnt = learn(examples)
    held = drawn_cells((10,) * 5, seed=3, shifted=False)
    swapped = {LYMPHOCYTE: MONOCYTE, MONOCYTE: LYMPHOCYTE}
    # On these the direction that was learnt means the opposite.
    labels = np.array([swapped.get(label, label) for label in held.labels])
    logits = held.logits.copy()
    logits[np.arange(len(labels)), :, labels] += 8
    worse = replace(held, labels=labels, logits=logits)

    trust = judge(examples, learnt, worse)

    assert trust.hold_out is not None
    assert trust.hold_out.gain < 0
    assert trust.decision == "not better"


def test_a_wrong_label_is_pointed_out():
    examples = drawn_cells((12,) * 5)
    labels = examples.labels.copy()
    wrong = int(np.flatnonzero(labels == EOSINOPHIL)[3])
    labels[wrong] = NEUTROPHIL
    examples = replace(examples, labels=labels)

    trust = judge(examples, learn(examples))

    assert trust.likely_label_errors[0] == f"cell {wrong}"
    assert len(trust.likely_label_errors) <= 3


def test_the_curve_ends_with_all_cells_and_rises():
    examples = drawn_cells((30,) * 5, noise=3.0)

    trust = judge(examples, learn(examples))

    sizes = [cells for cells, _ in trust.curve]
    assert sizes == [3, 5, 10, 20, 30]
    assert trust.curve[-1][1] == pytest.approx(trust.left_out.after)
    assert trust.curve[0][1] < trust.curve[-1][1]
    assert len(trust.ten_more) == len(CLASS_NAMES)
    assert min(trust.ten_more) >= 0


def test_a_learner_that_is_often_wrong_is_not_sure():
    sure, unsure = (learn(drawn_cells((20,) * 5, noise=noise)) for noise in (1.0, 5.0))

    assert unsure.temperature > sure.temperature
    assert unsure.review_threshold > sure.review_threshold


def test_suggestions_reach_rare_classes_sooner_than_chance():
    pool = drawn_cells((2, 4, 30, 6, 58), shifted=False, seed=5)

    chosen = suggest(pool.mean_features, pool.mean_logits, 20)

    assert len(set(chosen)) == 20
    counts = np.bincount(pool.labels[list(chosen)], minlength=5)
    assert tuple(counts) == (2, 4, 5, 5, 4)


def test_suggestions_ask_for_what_is_not_labelled_yet():
    pool = drawn_cells((10,) * 5, shifted=False, seed=5)

    chosen = suggest(pool.mean_features, pool.mean_logits, 5, counts=(9, 9, 0, 9, 9))

    assert set(pool.labels[list(chosen)]) == {LYMPHOCYTE}


def test_numbers_that_are_none_are_refused():
    examples = drawn_cells()
    features = examples.features.copy()
    features[0, 0, 0] = np.nan

    with pytest.raises(ConfigurationError, match="finite"):
        replace(examples, features=features)

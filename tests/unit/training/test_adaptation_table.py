"""What labelled cells are worth: draws, and how much a stricter criterion would recommend."""

import numpy as np
import pytest

from orchestrator.model_contract import NUM_CLASSES
from orchestrator.site_head.examples import Examples
from training import adaptation_table
from training.adaptation_table import CRITERIA, Seen, draw, print_tables

CELLS = 60


def seen(is_told: bool, groups: int = CELLS * NUM_CLASSES) -> Seen:
    """Cells whose features tell the class, or nothing; the model's own head guesses."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(NUM_CLASSES), CELLS)
    features = rng.normal(size=(len(labels), 2, 12))
    if is_told:
        features[..., :NUM_CLASSES] += 3 * (labels[:, None, None] == np.arange(NUM_CLASSES))
    logits = np.repeat(rng.normal(size=(len(labels), 1, NUM_CLASSES)), 2, axis=1)
    order = rng.permutation(len(labels))
    names = tuple(str(number) for number in range(len(labels)))
    examples = Examples(
        features[order].astype(np.float32),
        logits[order],
        labels[order],
        tuple(str(number % groups) for number in range(len(labels))),
        names,
    )
    return Seen(examples, np.array(names))


def test_a_stricter_criterion_recommends_some_of_what_the_trust_view_does_and_nothing_else():
    assert CRITERIA[0] == (0.025, 0.0)
    assert draw(seen(is_told=True), (10,) * 5, 0).meets == (True,) * len(CRITERIA)
    for seed in range(4):
        for device in (seen(is_told=True), seen(is_told=False)):
            found = draw(device, (5,) * 5, seed)
            assert all(found.recommended for met in found.meets if met)
    assert not any(draw(seen(is_told=False), (10,) * 5, 0).meets)


def test_a_class_of_one_specimen_is_recommended_by_no_criterion(monkeypatch: pytest.MonkeyPatch):
    def too_few(*_: object) -> tuple[str, str]:
        return "too few", "all of one specimen"

    monkeypatch.setattr(adaptation_table, "decide", too_few)
    assert draw(seen(is_told=True), (10,) * 5, 0).meets == (False,) * len(CRITERIA)


def test_the_tables_say_what_each_criterion_recommends_and_loses(capsys: pytest.CaptureFixture[str]):
    print_tables({"painted": seen(is_told=True)}, 2, ())
    said = capsys.readouterr().out
    assert "| 0.025 | 0.0 | 10 | 0 (0.0% of all draws) | 0 |" in said
    assert "For research use only." in said

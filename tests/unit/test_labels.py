"""What a cell may be called."""

import pytest

from orchestrator.labels import CELL_LABELS, LABELS, SMUDGE, Label, labels_of
from orchestrator.model_contract import CLASS_NAMES


def test_the_models_classes_come_first_and_then_the_words_of_persons():
    names = [label.name for label in LABELS]
    assert tuple(names[:6]) == CELL_LABELS == (*CLASS_NAMES, "Unidentified")
    assert set(names[6:]) == {
        "Band", "Segmented", "Immature granulocyte", "Blast", "Atypical lymphocyte", "Nucleated red cell",
        "Smudge", "Giant platelet", "Artefact",
    }  # fmt: skip


def test_each_has_a_key_of_its_own_and_words_in_both_languages():
    keys = [label.key for label in LABELS]
    assert len(set(keys)) == len(keys) == len(list(LABELS))
    # What else the keys of the page do by default.
    assert set("jkushgx").isdisjoint(keys)
    assert all(label.turkish and len(label.key) == 1 for label in LABELS)


def test_only_bands_and_segmented_cells_are_of_a_class_of_the_model():
    assert {label.name: LABELS.class_of(label.name) for label in LABELS if label.name not in CLASS_NAMES} == {
        "Unidentified": None, "Band": "Neutrophil", "Segmented": "Neutrophil", "Immature granulocyte": None,
        "Blast": None, "Atypical lymphocyte": None, "Nucleated red cell": None, "Smudge": None,
        "Giant platelet": None, "Artefact": None,
    }  # fmt: skip
    assert [LABELS.class_of(name) for name in CLASS_NAMES] == list(CLASS_NAMES)


def test_a_sites_own_come_last_and_are_told_from_the_others():
    labels = labels_of([Label("Hairy cell", "Saçlı hücre", "y")])
    assert [label.name for label in labels if label.is_own] == ["Hairy cell"]
    assert list(labels)[-1].slug == "hairy-cell"
    assert "Hairy cell" in labels
    assert "Hairy cell" not in LABELS


def test_smudge_cells_among_the_lymphocytes_are_of_that_class():
    assert labels_of(smudge="lymphocytes").class_of(SMUDGE) == "Lymphocyte"
    assert labels_of(smudge="none").of(SMUDGE).denominator == "none"


def test_of_a_name_that_is_gone_a_label_of_the_white_cells_stays():
    assert LABELS.of("Hairy cell").is_whole
    assert LABELS.class_of("Hairy cell") is None


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (Label("hairy", "a", ""), "name: expected English words"),
        (Label("Hairy  cell", "a", ""), "name: expected English words"),
        (Label("Hairy cell\n", "a", ""), "name: expected English words"),
        (Label("H" + "a" * 32, "a", ""), "at most 32"),
        (Label("Giant Platelet", "a", ""), "no other label has"),
        (Label("Hairy cell", "a", "5"), "key: expected"),
        (Label("Hairy cell", "a", "", part_of="Blast"), "part_of: expected"),
        (Label("Hairy cell", "a", "", "none", "Lymphocyte"), "part_of: expected"),
    ],
)
def test_an_own_label_that_cannot_be_is_refused_and_says_why(own, said):
    with pytest.raises(ValueError, match=said):
        labels_of([own])

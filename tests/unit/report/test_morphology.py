"""The facts about the five classes are complete in both languages."""

import pytest

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.report.morphology import MORPHOLOGY


def test_every_class_of_the_contract_has_its_morphology_in_order() -> None:
    assert tuple(MORPHOLOGY) == CLASS_NAMES


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_class_has_a_decisive_structure_and_texts_in_both_languages(name: str) -> None:
    morphology = MORPHOLOGY[name]
    assert morphology.decisive
    for texts in (morphology.label, *(t for s in morphology.structures for t in (s.there, s.full))):
        assert set(texts) == {"en", "tr"}
        assert all(texts.values())


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_region_holds_at_most_one_structure_of_a_class(name: str) -> None:
    """The sentences name one structure after a region; two would need other ones."""
    for structures in (
        MORPHOLOGY[name].looked_for_in("nucleus"),
        MORPHOLOGY[name].looked_for_in("cytoplasm"),
    ):
        assert len(structures) <= 1


@pytest.mark.parametrize(
    ("name", "label"),
    list(zip(CLASS_NAMES, ("Bazofil", "Eozinofil", "Lenfosit", "Monosit", "Nötrofil"), strict=True)),
)
def test_labels_are_the_names_of_the_contract_and_the_turkish_ones(name: str, label: str) -> None:
    assert MORPHOLOGY[name].label == {"en": name, "tr": label}


@pytest.mark.parametrize(
    ("name", "nucleus", "cytoplasm"),
    [
        ("Basophil", True, True),
        ("Eosinophil", True, True),
        ("Lymphocyte", True, False),
        ("Monocyte", True, False),
        ("Neutrophil", True, False),
    ],
)
def test_granules_make_the_cytoplasm_decisive_and_nothing_else_does(
    name: str, nucleus: bool, cytoplasm: bool
) -> None:
    regions = {region for structure in MORPHOLOGY[name].decisive for region in structure.regions}
    assert ("nucleus" in regions, "cytoplasm" in regions) == (nucleus, cytoplasm)

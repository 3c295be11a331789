"""A site's own labels."""

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.labels import LABELS, Label
from orchestrator.specimens.site_labels import load_labels


def written(tmp_path, text):
    path = tmp_path / "labels.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_sites_file_is_read(tmp_path):
    text = '[[label]]\nname = "Hairy cell"\nturkish = "Saçlı hücre"\nkey = "y"\n'
    text += '[[label]]\nname = "Hypersegmented"\npart_of = "Neutrophil"\n'
    text += '[[label]]\nname = "Microfilaria"\ndenominator = "none"\n'
    found = load_labels(written(tmp_path, text), "none")
    assert [label for label in found if label.is_own] == [
        Label("Hairy cell", "Saçlı hücre", "y"),
        Label("Hypersegmented", "Hypersegmented", "", part_of="Neutrophil"),
        Label("Microfilaria", "Microfilaria", "", "none"),
    ]
    assert found.of("Smudge").denominator == "none"


def test_a_site_without_a_file_has_what_came_with_the_service():
    assert load_labels(None, "per_100_white_cells") == LABELS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected at most 50 tables"),
        ("label = 3", "expected at most 50 tables"),
        ("label = [3]", "name: expected a text"),
        ('smudge = "none"\n[[label]]\nname = "A"', "and nothing else"),
        ("".join(f'[[label]]\nname = "A{"a" * n}"\n' for n in range(51)), "expected at most 50 tables"),
        ('[[label]]\nkey = "y"', "name: expected a text"),
        ('[[label]]\nname = "A"\nloinc = "1"', "received 'loinc'"),
        ('[[label]]\nname = "A"\nkey = 3', "A, key: expected a text"),
        ('[[label]]\nname = "A"\nkey = "yy"', "A, key: expected one character"),
        ('[[label]]\nname = "A"\nturkish = "a\\nb"', "A, turkish: expected a text of one line"),
        ('[[label]]\nname = "A"\ndenominator = "all"', "A, denominator: expected one of white_cells"),
        ('[[label]]\nname = "Blast"', "labels, name: expected one that no other"),
        ('[[label]]\nname = "A"\n[[label]]\nname = "A"', "labels, name: expected one that no other"),
        ("label = ", "TOML"),
        (b'name = "\xff"', "TOML"),
    ],
)
def test_a_wrong_file_is_refused_and_says_where(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said):
        load_labels(written(tmp_path, text), "none")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_labels(tmp_path / "missing.toml", "none")

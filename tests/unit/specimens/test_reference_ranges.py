"""A site's reference ranges."""

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import Range
from orchestrator.specimens.reference_ranges import ADULTS, load_reference_ranges


def written(tmp_path, text):
    path = tmp_path / "ranges.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_sites_file_is_read_with_its_source(tmp_path):
    text = 'source = "Own study, 240 adults"\n[ranges]\nNeutrophil = [43, 72.5]\nBand = [0, 5]\n'
    found = load_reference_ranges(written(tmp_path, text))
    assert found.source == "Own study, 240 adults"
    assert dict(found.ranges) == {"Neutrophil": Range(43.0, 72.5), "Band": Range(0.0, 5.0)}


def test_a_site_may_have_no_ranges_at_all(tmp_path):
    assert dict(load_reference_ranges(written(tmp_path, 'source = "none are used here"')).ranges) == {}


def test_the_examples_name_every_class_and_that_they_are_examples():
    assert set(ADULTS.ranges) == set(CLASS_NAMES)
    assert "example" in ADULTS.source
    assert "not of this site" in ADULTS.source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "source: expected"),
        ('source = " "', "source: expected"),
        (f'source = "{"x" * 201}"', "source: expected"),
        ("source = 3", "source: expected"),
        ('source = "a"\nunits = "percent"', "received 'units'"),
        ('source = "a"\nranges = 3', "expected a table"),
        ('source = "a"\n[ranges]\nPlasma = [0, 1]', "received 'Plasma'"),
        ('source = "a"\n[ranges]\nArtefact = [0, 1]', "received 'Artefact'"),
        ('source = "a"\n[ranges]\nNeutrophil = [75, 40]', "ranges.Neutrophil"),
        ('source = "a"\n[ranges]\nNeutrophil = [40]', "ranges.Neutrophil"),
        ('source = "a"\n[ranges]\nNeutrophil = [40, 101]', "ranges.Neutrophil"),
        ('source = "a"\n[ranges]\nNeutrophil = [nan, 40]', "ranges.Neutrophil"),
        ('source = "a"\n[ranges]\nNeutrophil = [false, 40]', "ranges.Neutrophil"),
        ('source = "a"\n[ranges]\nNeutrophil = ["4", "40"]', "ranges.Neutrophil"),
        ("source = ", "TOML"),
        (b'source = "\xff"', "TOML"),
    ],
)
def test_a_wrong_file_is_refused_and_says_where(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said):
        load_reference_ranges(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_reference_ranges(tmp_path / "missing.toml")

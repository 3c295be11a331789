import json

from orchestrator.emulator.golden import golden_files
from orchestrator.interop.hl7v2_text import read
from tests.golden.write_interop import FOLDER


def test_the_golden_messages_are_what_is_written_now():
    """Where this fails on purpose: ``python -m tests.golden.write_interop``, and tell integrators."""
    files = golden_files()
    assert {path.name for path in FOLDER.iterdir()} - {"README.md"} == set(files)
    for name, data in files.items():
        assert (FOLDER / name).read_bytes() == data, name


def test_there_is_one_for_every_kind_of_differential_and_format():
    names = [name for name in golden_files() if name.endswith(".fhir.json")]
    assert len(names) == 10
    for name in names:
        stem = name.removesuffix(".fhir.json")
        assert json.loads((FOLDER / name).read_bytes())["resourceType"] == "Bundle"
        assert read((FOLDER / f"{stem}.oru.hl7").read_bytes()).value("MSH", 9, 2) == "R01"
        assert read((FOLDER / f"{stem}.oul.hl7").read_bytes()).value("MSH", 9, 2) == "R22"
        assert (FOLDER / f"{stem}.classes.csv").is_file()

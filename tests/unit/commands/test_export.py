"""``wbc export`` up to the border of the process, and ``wbc emulate golden``; sending is in tests/e2e."""

import csv
import json
import re
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result

from orchestrator.bootstrap.interop import site_of
from orchestrator.commands.cli import app
from orchestrator.documents.reading import write_differential
from orchestrator.emulator.examples import examples
from orchestrator.emulator.fhir_schema import schema_check
from orchestrator.errors import (
    ConfigurationError,
    MalformedMessage,
    PeerRefused,
    PeerUnavailable,
    PeerUnconfirmed,
)
from orchestrator.interop import coding
from orchestrator.interop.destination import parse_destination
from orchestrator.interop.dicom import object_of
from orchestrator.interop.hl7v2_text import read
from orchestrator.settings import InteropSettings, Settings
from tests.dicom_results import made_reports
from tests.golden.write_interop import FOLDER
from tests.running_service import free_port

DOCUMENT = FOLDER / "too_few_cells.differential.json"
FINAL = write_differential(examples()["final"].differential)


def wbc(*arguments: object, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.mark.parametrize(
    ("output_format", "options", "golden"),
    [
        ("fhir", ["--cells"], "too_few_cells.fhir.json"),
        ("oru", [], "too_few_cells.oru.hl7"),
        ("oul", [], "too_few_cells.oul.hl7"),
        ("csv", [], "too_few_cells.classes.csv"),
        ("cells-csv", [], "too_few_cells.cells.csv"),
    ],
)
def test_a_document_becomes_each_format_on_stdout(output_format, options, golden):
    result = wbc("export", output_format, DOCUMENT, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == (FOLDER / golden).read_bytes()


def test_a_document_on_stdin_gets_what_the_sender_adds():
    options = ["--patient-id", "47|11", "--patient-family", "Yılmaz", "--order-number", "A1", "--no-detail"]
    options += ["--collected-at", "2026-03-02T06:30:00+01:00"]
    message = read(wbc("export", "oul", "-", *options, stdin=FINAL).stdout_bytes)
    assert (message.value("PID", 3), message.value("PID", 5)) == ("47|11", "Yılmaz")
    assert (message.value("OBR", 2), message.value("OBR", 7)) == ("A1", "20260302063000+0100")
    assert len(message.all("OBX")) == 12


@pytest.mark.parametrize("method", ["unspecified", "automated", "manual"])
def test_the_table_of_classes_has_the_codes_of_the_sites_method(method, monkeypatch):
    monkeypatch.setenv("WBC_INTEROP__METHOD", method)
    rows = list(csv.DictReader(wbc("export", "csv", "-", stdin=FINAL).stdout.splitlines()))
    for row in rows:
        assert row["percentage_code"] == coding.percentage(row["label"], method).code
        assert row["absolute_code"] == coding.absolute(row["label"], method).code
    assert [row["code_system"] for row in rows] == [coding.LOINC] * 5 + [coding.OWN]


def test_the_settings_say_how_the_sites_messages_look(monkeypatch):
    monkeypatch.setenv("WBC_INTEROP__METHOD", "automated")
    monkeypatch.setenv("WBC_INTEROP__SENDING_FACILITY", "LAB&1")
    message = read(wbc("export", "oru", "-", stdin=FINAL).stdout_bytes)
    assert message.value("MSH", 4) == "LAB&1"
    assert message.value("OBR", 4) == "57023-4"


def test_a_differential_is_fetched_from_the_service_that_keeps_it(httpserver: HTTPServer, tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("wbc_1.secret\n")
    headers = {"Authorization": "Bearer wbc_1.secret"}
    httpserver.expect_request("/lab/v1/differentials/a/b", headers=headers).respond_with_data(FINAL)
    arguments = ["export", "oru", "a/b", "--service", httpserver.url_for("/lab/"), "--service-key-file", key]
    result = wbc(*arguments)
    assert result.exit_code == 0, result.exception
    assert read(result.stdout_bytes).value("OBR", 25) == "F"


def test_a_service_without_the_differential_or_none_at_all_is_told(httpserver: HTTPServer):
    httpserver.expect_request("/v1/differentials/1").respond_with_data("", status=404)
    assert isinstance(wbc("export", "oru", "1", "--service", httpserver.url_for("")).exception, PeerRefused)
    nobody = wbc("export", "oru", "1", "--service", f"http://127.0.0.1:{free_port()}")
    assert isinstance(nobody.exception, PeerUnavailable)
    assert isinstance(wbc("export", "oru", "1", "--service", "file:///etc").exception, ConfigurationError)


@pytest.mark.parametrize("output_format", ["fhir", "dicom"])
def test_a_page_that_wants_a_sign_in_is_no_delivery(output_format, httpserver: HTTPServer):
    page = "<html><body>Please sign in</body></html>"
    httpserver.expect_request(re.compile("/lab.*")).respond_with_data(page, content_type="text/html")
    result = wbc("export", output_format, DOCUMENT, "--send", httpserver.url_for("/lab"), "--verify")
    assert isinstance(result.exception, PeerUnconfirmed)
    assert 'it answered 200 with text/html, "Please sign in"' in str(result.exception)
    assert "taken" not in result.output
    assert "stored" not in result.output


def test_a_report_that_the_archive_does_not_find_is_not_stored(httpserver: HTTPServer):
    report = object_of(wbc("export", "dicom", DOCUMENT).stdout_bytes)
    stored = {"00081155": {"vr": "UI", "Value": [report.sop_instance_uid]}}
    httpserver.expect_request("/studies").respond_with_json({"00081199": {"vr": "SQ", "Value": [stored]}})
    there = [{"00080018": {"vr": "UI", "Value": [report.sop_instance_uid]}}]
    command = ["export", "dicom", DOCUMENT, "--send", httpserver.url_for(""), "--attempts", 1, "--verify"]
    httpserver.expect_oneshot_request("/instances").respond_with_json(there)
    assert "which finds it" in wbc(*command).output
    httpserver.expect_request("/instances").respond_with_json([])
    assert "does not find it" in str(wbc(*command).exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fhir", DOCUMENT, "--send", "mllp://localhost:1"],
        ["oru", DOCUMENT, "--send", "http://localhost:1"],
        ["csv", DOCUMENT, "--send", "http://localhost:1"],
        ["csv", DOCUMENT, "--send", "mllp://localhost:1"],
        ["oru", DOCUMENT, "--send", "ftp://localhost"],
        ["oru", DOCUMENT, "--send", "mllp://localhost:99999"],
        ["oru", DOCUMENT, "--send", "mllp://user:secret@localhost"],
        ["oru", DOCUMENT, "--send", "mllp://localhost:1", "--ca-file", DOCUMENT],
        ["oru", DOCUMENT, "--send", "mllps://localhost:1", "--ca-file", DOCUMENT],
        ["oru", "no-such-file.json"],
        ["fhir", DOCUMENT, "--send", "http://localhost:1", "--token-file", "no-such-file"],
    ],
)
def test_what_does_not_go_together_is_told_before_anything_is_sent(arguments):
    error = wbc("export", *arguments).exception
    assert isinstance(error, ConfigurationError)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "options",
    [
        ["--patient-family", "X"],
        ["--collected-at", "2026-03-02T06:30:00"],
        ["--collected-at", "yesterday"],
        ["--bundle-type", "batch"],
    ],
)
def test_a_wrong_option_is_named(options):
    result = wbc("export", "oru", DOCUMENT, *options)
    assert result.exit_code == 2
    assert options[0] in result.output or "--patient-id" in result.output


def test_what_is_no_differential_is_refused():
    assert isinstance(wbc("export", "csv", "-", stdin=b"{}").exception, MalformedMessage)


def test_the_golden_messages_are_written_where_one_wants_them(tmp_path):
    result = wbc("emulate", "golden", tmp_path / "new" / "folder")
    assert result.exit_code == 0
    written = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    committed = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert written == committed | set(made_reports())


@pytest.mark.parametrize(
    "arguments", [["mllp", "--answer", "yes"], ["fhir", "--status", "200"], ["fhir", "--port", "0"]]
)
def test_the_emulator_refuses_what_it_cannot_do(arguments):
    assert wbc("emulate", *arguments).exit_code == 2


@pytest.mark.parametrize("content", ["", "{}", '{"definitions": {}, "$schema": "x"}', "[]"])
def test_a_file_that_is_no_schema_of_fhir_is_told(content, tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"fhir\.schema\.json"):
        schema_check(path)


def test_an_address_has_the_usual_port_where_it_names_none():
    assert (parse_destination("mllp://lis").port, parse_destination("https://lis/fhir").port) == (2575, 443)
    assert parse_destination("mllps://[::1]:99").host == "::1"


def test_codes_of_snomed_are_for_labels_of_cells():
    assert site_of(Settings(interop=InteropSettings(snomed={"Monocyte": "55918008"}))).snomed == {
        "Monocyte": "55918008"
    }
    with pytest.raises(ConfigurationError, match="SNOMED"):
        site_of(Settings(interop=InteropSettings(snomed={"Blasto": "1"})))


def test_results_are_for_training_systems_unless_a_site_says_otherwise():
    assert site_of(Settings()).processing_id == "T"
    assert json.loads(InteropSettings().model_dump_json())["method"] == "unspecified"


@pytest.mark.parametrize("option", ["--patient-id", "--order-number"])
@pytest.mark.parametrize("mark", ["\x85", "\x9b", "\u2028", "\u202e", "\u2066", "\ufeff"])
def test_an_identifier_that_no_laboratory_prints_is_refused(option, mark):
    result = wbc("export", "oru", DOCUMENT, option, f"P{mark}1")
    assert result.exit_code == 2
    assert mark not in result.output


@pytest.mark.parametrize(
    ("spreadsheet", "begin"), [("comma", "\ufeffdifferential_id;"), ("point", "\ufeffdifferential_id,")]
)
def test_csv_is_written_for_a_spreadsheet_of_either_kind(spreadsheet, begin):
    for kind in ("csv", "cells-csv"):
        written = wbc("export", kind, "-", "--spreadsheet", spreadsheet, stdin=FINAL).stdout_bytes.decode()
        assert written.startswith(begin)

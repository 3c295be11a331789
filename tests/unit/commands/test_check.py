"""``wbc check``: what ``wbc serve`` would stumble over, said beforehand."""

import asyncio
import json
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from typer.testing import CliRunner

from orchestrator.bootstrap.store import build_store
from orchestrator.commands.check import PATIENCE_S, Row, rows
from orchestrator.commands.cli import app
from orchestrator.device_audits.audit import Audit, AuditFile
from orchestrator.documents.model import Health
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.api_key_file import change_keys
from orchestrator.errors import ConfigurationError
from orchestrator.report.model_names import GEMINI_DEFAULT
from orchestrator.settings import StoreSettings, load_settings, unknown_variables
from tests.audited_cells import passed_audit, plan_of
from tests.certificates import Issued, issued
from tests.fakes.language_models import KEY, SERVED_MODEL, Protocol, ReportProvider, report_provider
from tests.running_service import free_port

Check = Callable[..., list[Row]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The rows for an environment; there is no model, which fails in a moment instead of loading one."""
    for name in [name for name in os.environ if name.upper().startswith("WBC_")]:
        monkeypatch.delenv(name)

    def run(*, ask_writers: bool = False, **environment: object) -> list[Row]:
        chosen = {
            "WBC_MODEL_REPOSITORY": tmp_path / "no-model",
            "WBC_HTTP__PORT": free_port(),
            **environment,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in chosen.items():
                patch.setenv(name, str(value))
            return list(rows(ask_writers=ask_writers))

    return run


def only(found: list[Row], what: str) -> Row:
    (row,) = (row for row in found if row.what == what)
    return row


def expired(made: Issued) -> Issued:
    """Rewrites the certificate's file as one that has ended, of the same key."""
    old = made.certificate
    ended = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(made.key.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc.replace(year=2001))
        .not_valid_after(old.not_valid_before_utc.replace(year=2002))
        .sign(made.key, hashes.SHA256())
    )
    made.files[0].write_bytes(ended.public_bytes(serialization.Encoding.PEM))
    return made


def test_unknown_variables_come_with_the_nearest_name_there_is():
    assert unknown_variables(["WBC_LANGAUGE", "WBC_HTTP__PROT", "WBC_QQQQQQQQQQQQ", "WBC_foo", "PATH"]) == {
        "WBC_HTTP__PROT": "no such setting; did you mean WBC_HTTP__PORT?",
        "WBC_LANGAUGE": "no such setting; did you mean WBC_LANGUAGE?",
        "WBC_QQQQQQQQQQQQ": "no such setting; remove it",
        "WBC_foo": "no such setting; remove it",
    }


def test_sections_as_json_deep_names_and_any_case_are_known():
    known = ["WBC_HTTP", "WBC_SECURITY__OIDC__ISSUER", "wbc_http__port", "WBC_INTEROP__SNOMED__Monocyte"]
    assert not unknown_variables(known)


def test_a_token_is_read_without_the_prefix_and_unknown_with_it():
    assert "GITHUB_TOKEN" in unknown_variables(["GITHUB_TOKEN", "WBC_GITHUB_TOKEN"])["WBC_GITHUB_TOKEN"]


def test_every_variable_that_the_projects_own_files_name_is_known(project_root: Path):
    files = [project_root / name for name in ("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder in (".ci", "docker", "k8s", "loadtests", "training", "tests/unit/interop"):
        files += [path for path in (project_root / folder).rglob("*") if path.is_file()]
    files += [project_root / "tests" / name for name in ("conftest.py", "fhir_r4_schema.py")]
    found = {
        name
        for path in files
        if "__pycache__" not in path.parts
        for name in re.findall(r"(?<!\w)WBC_[A-Z0-9_]*[A-Z0-9](?!\w)", path.read_text(errors="ignore"))
    }
    assert {"WBC_DATA_ROOT", "WBC_STORE__URL"} <= found
    assert unknown_variables(found) == {}


def test_an_unknown_variable_of_a_section_is_one_row(check: Check):
    wrong = [row for row in check(WBC_HTTP__PROT=9000) if not row.good]
    assert wrong == [Row("settings", False, "WBC_HTTP__PROT: no such setting; did you mean WBC_HTTP__PORT?")]


def test_each_wrong_value_is_a_row(check: Check):
    wrong = [row.detail for row in check(WBC_HTTP__PORT="many", WBC_LANGUAGE="de") if not row.good]
    assert len(wrong) == 2
    assert any(detail.startswith("WBC_HTTP__PORT: ") for detail in wrong)
    assert any(detail.startswith("WBC_LANGUAGE: ") for detail in wrong)


NO_JSON = [
    "WBC_HTTP",
    "WBC_SECURITY",
    "WBC_SECURITY__OIDC",
    "WBC_SECURITY__CORS_ORIGINS",
    "WBC_INTEROP__SNOMED",
]


@pytest.mark.parametrize("name", NO_JSON)
def test_a_section_or_a_list_that_is_no_json_is_named(check: Check, name: str):
    found = check(**{name: "{secret", "WBC_HTTP__HOST": "localhost"})
    assert only(found, "settings") == Row("settings", False, f"{name}: expected JSON")


def test_each_section_that_is_no_json_is_a_row_and_its_value_is_not_told_by_a_start(
    check: Check, monkeypatch: pytest.MonkeyPatch
):
    found = check(WBC_HTTP="{", WBC_STORE="secret")
    assert [row.detail for row in found if row.what == "settings"] == [
        "WBC_HTTP: expected JSON", "WBC_STORE: expected JSON",
    ]  # fmt: skip
    monkeypatch.setenv("WBC_STORE", "secret")
    with pytest.raises(ConfigurationError, match=r"^WBC_STORE: expected JSON$"):
        load_settings()


def test_a_problem_is_one_line_and_exit_code_1_in_any_terminal():
    result = CliRunner().invoke(app, ["check"], env={"WBC_HTTP__PROT": "9000", "COLUMNS": "40"})
    assert result.exit_code == 1
    *_, wrong, disclaimer = result.stdout.splitlines()
    assert re.fullmatch(r"wrong +settings +WBC_HTTP__PROT: .*WBC_HTTP__PORT\?", wrong)
    assert disclaimer == DISCLAIMER


def details(found: list[Row], what: str) -> list[tuple[bool, str]]:
    return [(row.good, row.detail) for row in found if row.what == what]


def order_of(server: ReportProvider) -> str:
    one = {"provider": server.protocol, "model": "m", "base_url": server.base_url, "api_key": KEY}
    return json.dumps([one])


def test_who_writes_reports_is_said_with_what_should_be_known_of_them(check: Check):
    found = check(GITHUB_TOKEN="x", GEMINI_API_KEY="y")
    (writers, retired) = details(found, "writers")
    assert writers == (True, f"gemini:{GEMINI_DEFAULT}, then rule-based")
    assert retired[1].startswith(
        "GitHub Models, which GITHUB_TOKEN was for, ended on 2026-07-30; name another"
    )


def test_a_writer_without_a_key_is_wrong_and_said_once(check: Check):
    found = check(WBC_WRITERS__ORDER='[{"provider": "gemini", "model": "m"}]')
    (wrong,) = [detail for row in found for detail in [row.detail] if "GEMINI_API_KEY" in detail]
    assert details(found, "writers") == [(False, wrong)]


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_writers_are_asked_on_demand_alone_and_what_came_is_said(check: Check, protocol: Protocol):
    with report_provider(protocol) as server:
        order = order_of(server)
        assert details(check(WBC_WRITERS__ORDER=order), "writers") == [
            (True, f"{protocol}:m, then rule-based")
        ]
        assert not server.asked

        (_, answered) = details(check(ask_writers=True, WBC_WRITERS__ORDER=order), "writers")
        assert answered[0]
        assert answered[1].startswith(f"{protocol}:m: {SERVED_MODEL} wrote a report in ")

        server.behave = lambda _: server.error(401, "Incorrect API key provided.")
        (_, refused) = details(check(ask_writers=True, WBC_WRITERS__ORDER=order), "writers")
        assert not refused[0]
        assert refused[1].startswith(f"{protocol}:m: unauthorised: Incorrect API key provided.")
        assert refused[1].endswith("; check its key: api_key, api_key_file, or GEMINI_API_KEY")


def test_a_variable_in_the_file_is_looked_at_as_those_of_the_environment(check: Check, tmp_path: Path):
    file = tmp_path / "env"
    file.write_text("WBC_HTTP__PROT=9000\nWBC_STORE={\n")
    file.chmod(0o600)
    found = details(check(WBC_ENV_FILE=file), "settings")
    assert found == [
        (False, "WBC_HTTP__PROT: no such setting; did you mean WBC_HTTP__PORT?"),
        (False, "WBC_STORE: expected JSON"),
    ]
    file.chmod(0o644)
    ((good, said),) = details(check(WBC_ENV_FILE=file), "settings")
    assert not good
    assert said == f"{file}: others on this machine can read it; chmod 600 {file}"


def test_everything_but_the_model_is_good_without_settings(check: Check):
    assert [row.what for row in check() if not row.good] == ["model"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """It takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


PORTS = [("HTTP", "WBC_HTTP__PORT"), ("gRPC", "WBC_GRPC__PORT")]


@pytest.mark.parametrize(("what", "variable"), PORTS)
def test_a_port_in_use_is_wrong(check: Check, silent_port: int, what: str, variable: str):
    row = only(check(**{variable: silent_port}), what)
    assert not row.good
    assert f"port {silent_port} " in row.detail
    assert row.detail.endswith(f"choose another port with {variable}")


@pytest.mark.parametrize(("what", "variable"), PORTS)
@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host", "192.0.2.1"])
def test_an_address_that_is_not_this_machines_is_what_to_change(
    check: Check, what: str, variable: str, host: str
):
    name = variable.replace("PORT", "HOST")
    row = only(check(**{variable: free_port(), name: host}), what)
    assert not row.good
    assert row.detail.endswith(f"name an address of this machine with {name}")


def test_http_and_grpc_on_one_port_are_wrong(check: Check):
    port = free_port()
    found = check(WBC_HTTP__PORT=port, WBC_GRPC__PORT=port)
    assert only(found, "HTTP").good
    assert not only(found, "gRPC").good


@pytest.fixture
def livez() -> Iterator[int]:
    """The port of a service that lives."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 404)
            self.end_headers()
            self.wfile.write(Health(status="live").model_dump_json().encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_ports_that_this_service_has_itself_are_good(check: Check, livez: int, silent_port: int):
    found = check(WBC_HTTP__PORT=livez, WBC_GRPC__PORT=silent_port)
    for what in ("HTTP", "gRPC"):
        assert only(found, what).good
        assert "already runs" in only(found, what).detail
    assert not only(check(WBC_HTTP__PORT=livez, WBC_GRPC__PORT=livez), "gRPC").good


NO_STORES = [
    "foo",
    "mysql://host/name",
    "postgresql://wbc:pass-word@host:notaport/wbc",
    "postgresql://wbc:pass-word@host:99999/wbc",
    "postgresql://wbc:pass-word@[::1/wbc",
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite://pass-word/wbc.db",
]


@pytest.mark.parametrize("url", NO_STORES)
def test_what_is_no_url_of_a_store_is_wrong_and_its_password_is_not_told(check: Check, url: str):
    row = only(check(WBC_STORE__URL=url), "store")
    assert not row.good
    assert row.detail.startswith("WBC_STORE__URL: expected")
    assert "pass-word" not in row.detail


def test_an_option_that_the_database_driver_does_not_know_is_wrong(check: Check):
    row = only(check(WBC_STORE__URL=f"postgresql://u@127.0.0.1:{free_port()}/x?sslmode=require"), "store")
    assert not row.good
    assert "?ssl=require" in row.detail


def test_a_folder_is_no_store(check: Check, tmp_path: Path):
    row = only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}"), "store")
    assert not row.good
    assert "received a folder" in row.detail


def test_a_wrong_encryption_key_of_the_store_is_wrong(check: Check, tmp_path: Path):
    found = check(WBC_STORE__URL=f"sqlite:///{tmp_path}/wbc.db", WBC_STORE__ENCRYPTION_KEY="short")
    assert not only(found, "store").good


def test_a_dead_postgresql_is_wrong_and_its_password_is_not_told(check: Check):
    row = only(check(WBC_STORE__URL=f"postgresql://wbc:pass-word@127.0.0.1:{free_port()}/wbc"), "store")
    assert not row.good
    assert "WBC_STORE__URL" in row.detail
    assert "pass-word" not in row.detail


def test_a_database_that_says_nothing_is_not_waited_for_long(check: Check, silent_port: int):
    started_s = time.monotonic()
    row = only(check(WBC_STORE__URL=f"postgresql://wbc@127.0.0.1:{silent_port}/wbc"), "store")
    assert not row.good
    assert "within 5 s" in row.detail
    assert time.monotonic() - started_s < 45  # its driver would wait for a minute


def test_audits_of_microscopes_are_read(check: Check, tmp_path: Path):
    audits = tmp_path / "audits"
    assert not only(check(WBC_AUDITS_DIR=audits), "audits").good
    audits.mkdir()
    AuditFile(audits / "judged.json").create(passed_audit())
    AuditFile(audits / "begun.json").create(Audit.of(plan_of()))
    good = only(check(WBC_AUDITS_DIR=audits), "audits")
    assert good == ("audits", True, "2 audits of microscopes, of which 1 are judged and hold")
    if os.getuid():  # root may write everywhere
        audits.chmod(0o500)
        assert "what people say" in only(check(WBC_AUDITS_DIR=audits), "audits").detail
        audits.chmod(0o700)
    (audits / "broken.json").write_text("{}")
    broken = only(check(WBC_AUDITS_DIR=audits), "audits")
    assert not broken.good
    assert "broken.json" in broken.detail


def test_a_store_that_is_not_there_yet_is_good_and_is_not_made(check: Check, tmp_path: Path):
    assert only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}/new/wbc.db"), "store").good
    assert list(tmp_path.iterdir()) == []


def test_a_store_below_a_file_cannot_be_made(check: Check, tmp_path: Path):
    (tmp_path / "file").touch()
    row = only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}/file/wbc.db"), "store")
    assert not row.good
    assert "choose a folder" in row.detail


def test_a_file_that_is_no_database_is_wrong(check: Check, tmp_path: Path):
    (tmp_path / "wbc.db").write_bytes(b"no database at all, but long enough to look like one" * 100)
    assert not only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}/wbc.db"), "store").good


def test_an_old_schema_is_tried_to_be_migrated_and_the_file_stays_as_it_is(check: Check, tmp_path: Path):
    made(tmp_path / "wbc.db", "CREATE TABLE notes (text)")
    before = (tmp_path / "wbc.db").read_bytes()
    assert only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}/wbc.db"), "store").good
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("wbc.db", before)]


def test_a_store_that_another_holds_is_not_waited_for_for_ever(check: Check, tmp_path: Path):
    path = tmp_path / "wbc.db"
    made(path, "CREATE TABLE notes (text)")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        row = only(check(WBC_STORE__URL=f"sqlite:///{path}"), "store")
    finally:
        holder.close()
    assert not row.good
    assert "another holds it" in row.detail


def test_a_schema_that_cannot_be_migrated_is_wrong(check: Check, tmp_path: Path):
    made(tmp_path / "wbc.db", "CREATE TABLE specimens (text)")  # in the way of the service's own
    assert not only(check(WBC_STORE__URL=f"sqlite:///{tmp_path}/wbc.db"), "store").good


async def test_a_store_that_can_only_be_read_is_wrong(tmp_path: Path, check: Check):
    store = build_store(StoreSettings(url=f"sqlite:///{tmp_path}/wbc.db"))
    assert store is not None
    await store.start()
    await store.close()
    read_only = f"sqlite:///file:{tmp_path}/wbc.db?mode=ro&uri=true"
    found = await asyncio.to_thread(check, WBC_STORE__URL=read_only)
    assert not only(found, "store").good
    found = await asyncio.to_thread(check, WBC_STORE__URL=f"sqlite:///{tmp_path}/wbc.db")
    assert only(found, "store").good


def made(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    database.execute(statement)
    database.close()


MODELS = {
    "model": {"WBC_TF_SERVING__TARGET": "{}"},
    "canary": {"WBC_CANARY__TARGET": "{}", "WBC_CANARY__SHARE": "0.1"},
    "shadow": {"WBC_SHADOW__TARGET": "{}"},
}


@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize("silent", [False, True])
def test_a_tf_serving_that_does_not_answer_is_wrong(check: Check, silent_port: int, part: str, silent: bool):
    target = f"127.0.0.1:{silent_port if silent else free_port()}"
    chosen = {name: value.format(target) for name, value in MODELS[part].items()}
    row = only(check(**chosen, WBC_TF_SERVING__START_TIMEOUT_S=0.5), part)
    assert not row.good
    assert target in row.detail


def test_a_start_that_would_wait_long_is_not_waited_for(check: Check):
    row = only(check(WBC_TF_SERVING__TARGET=f"127.0.0.1:{free_port()}"), "model")
    assert f"within {PATIENCE_S:g} s" in row.detail


def test_a_tf_serving_that_is_not_there_is_told_although_a_failover_would_answer(
    check: Check, project_root: Path
):
    found = check(
        WBC_TF_SERVING__TARGET=f"127.0.0.1:{free_port()}",
        WBC_TF_SERVING__START_TIMEOUT_S=0.5,
        WBC_FAILOVER__ENABLED="true",
        WBC_MODEL_REPOSITORY=project_root / "model_repository",
    )
    assert not only(found, "model").good
    assert only(found, "failover").good


def test_no_compiled_network_is_left_behind(check: Check, project_root: Path, tmp_path: Path):
    found = check(
        WBC_MODEL_REPOSITORY=project_root / "model_repository", WBC_EMBEDDED__CACHE_DIR=tmp_path / "cache"
    )
    assert only(found, "model").good
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/new"])
def test_a_cache_that_cannot_be_written_is_wrong(check: Check, tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    row = only(check(WBC_EMBEDDED__CACHE_DIR=tmp_path / name), "cache")
    assert not row.good
    assert "WBC_EMBEDDED__CACHE_DIR" in row.detail


@pytest.mark.parametrize("content", [None, "{", '{"keys": 5}'])
def test_a_keys_file_that_is_absent_or_malformed_is_wrong(check: Check, tmp_path: Path, content: str | None):
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
        path.chmod(0o600)
    row = only(check(WBC_SECURITY__API_KEYS_FILE=path), "access")
    assert not row.good
    assert row.detail.startswith("WBC_SECURITY__API_KEYS_FILE: ")
    assert "wbc keys" in row.detail


def test_a_keys_file_without_a_key_that_opens_is_wrong(check: Check, tmp_path: Path):
    path, now = tmp_path / "keys.json", datetime.now(UTC)
    change_keys(path, lambda ring: (ring, None))
    row = only(check(WBC_SECURITY__API_KEYS_FILE=path), "access")
    assert not row.good
    assert "holds no key" in row.detail

    change_keys(path, lambda ring: ring.created("lis", ["analyse"], None, now))
    assert only(check(WBC_SECURITY__API_KEYS_FILE=path), "access").good

    change_keys(path, lambda ring: (ring.revoked("lis", now), None))
    assert not only(check(WBC_SECURITY__API_KEYS_FILE=path), "access").good


def test_an_address_for_anybody_without_keys_is_wrong(check: Check):
    assert "WBC_HTTP__HOST" in only(check(WBC_HTTP__HOST="0.0.0.0"), "access").detail


EDGES = [("HTTP", "WBC_SECURITY__TLS"), ("gRPC", "WBC_GRPC__TLS")]


def tls(section: str, certificate: Path, key: Path) -> dict[str, object]:
    return {
        "WBC_GRPC__PORT": free_port(),
        f"{section}__CERTIFICATE_FILE": certificate,
        f"{section}__KEY_FILE": key,
    }


@pytest.mark.parametrize(("what", "section"), EDGES)
def test_a_certificate_and_its_key_are_good(check: Check, tmp_path: Path, what: str, section: str):
    server = issued(tmp_path, "server")
    row = only(check(**tls(section, *server.files)), what)
    assert row.good
    assert row.detail.endswith(f"valid until {server.certificate.not_valid_after_utc:%Y-%m-%d}")


@pytest.mark.parametrize(("what", "section"), EDGES)
def test_an_absent_certificate_is_wrong(check: Check, tmp_path: Path, what: str, section: str):
    row = only(check(**tls(section, tmp_path / "absent.pem", issued(tmp_path, "a").files[1])), what)
    assert not row.good
    assert section in row.detail


@pytest.mark.parametrize(("what", "section"), EDGES)
def test_a_key_of_another_certificate_is_wrong(check: Check, tmp_path: Path, what: str, section: str):
    row = only(check(**tls(section, issued(tmp_path, "a").files[0], issued(tmp_path, "b").files[1])), what)
    assert not row.good
    assert section in row.detail


@pytest.mark.parametrize(("what", "section"), EDGES)
def test_an_expired_certificate_is_wrong(check: Check, tmp_path: Path, what: str, section: str):
    row = only(check(**tls(section, *expired(issued(tmp_path, "old")).files)), what)
    assert not row.good
    assert f"{section}__CERTIFICATE_FILE: expired on 2002-" in row.detail

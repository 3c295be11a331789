"""``wbc audit-device`` from the plan to what the service then releases, with the committed model."""

import asyncio
import csv
from importlib import resources

import cv2
import pytest
from typer.testing import CliRunner

from orchestrator.analyse import AnalysisOptions, analyse
from orchestrator.bootstrap.services import audits_of, build_services
from orchestrator.commands.cli import app
from orchestrator.device_audits.audit import AuditFile
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.samples import paint_sample
from orchestrator.settings import Settings

BASOPHIL = CLASS_NAMES.index("Basophil")


@pytest.fixture(scope="module", autouse=True)
def _model(project_root):
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")


SEEDS = (1, 2, 3)
"""Of painted basophils that the model recognises, one a specimen."""


def write_variants(folder, specimen, count):
    """As many different files of one painted cell: the audit asks for many, and painting takes longer."""
    folder.mkdir()
    rgb = paint_sample("Basophil", 0, SEEDS[specimen], side_px=240).rgb.copy()
    for number in range(count):
        rgb[0, 0] = number
        cv2.imwrite(str(folder / f"{number}.png"), rgb[:, :, ::-1])


def test_an_audit_leads_from_a_plan_to_released_answers(tmp_path):
    profiles, audits, path = tmp_path / "profiles", tmp_path / "audits", tmp_path / "audits" / "audit.json"
    profiles.mkdir()
    audits.mkdir()
    of_any = (resources.files("orchestrator.profiles") / "motic-tecom.toml").read_text()
    (profiles / "scope.toml").write_text(of_any.replace('tta = "light"', 'tta = "none"'))

    def wbc(command, *arguments):
        return CliRunner().invoke(
            app,
            ["audit-device", command, *map(str, arguments)],
            env={"COLUMNS": "100", "WBC_PROFILES_DIR": str(profiles)},
        )

    planned = wbc(
        *("plan", "--profile", "scope", "--output", path, "--threshold", "Basophil=0.7", "--seed", 1)
    )
    assert planned.exit_code == 0, planned.output
    for said in (
        "Basophil",
        "0.7",
        "99",
        "157",
        "208",
        "257",
        AuditFile(path).read().plan.sha256,
        DISCLAIMER,
    ):
        assert said in planned.stdout
    for specimen in range(3):
        write_variants(tmp_path / f"S-{specimen}", specimen, 33)
    (tmp_path / "S-2" / "broken.png").write_bytes(b"no image")
    added = [
        wbc("add", "--audit", path, "--specimen", f"S-{specimen}", tmp_path / f"S-{specimen}")
        for specimen in range(3)
    ]
    assert [result.exit_code for result in added] == [0, 0, 1], added[0].output
    assert "broken.png" in added[2].stderr
    assert "Basophil: 0 of 99 labelled cells" in added[2].stdout

    table = tmp_path / "labels.csv"
    assert wbc("export-labels", "--audit", path, "--output", table).exit_code == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 99
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"label": "basophil"} for row in rows)
    assert isinstance(wbc("judge", "--audit", path).exception, ConfigurationError)
    imported = wbc("import-labels", "--audit", path, table)
    assert "Basophil: 99 of 99 labelled cells, of 3 specimens" in imported.stdout, imported.output
    judged = wbc("judge", "--audit", path)
    assert judged.exit_code == 0, judged.output
    assert "97.02 %" in judged.stdout
    assert "not released" not in judged.stdout
    assert DISCLAIMER in judged.stdout

    settings = Settings(profiles_dir=profiles, audits_dir=audits)
    services, registry = build_services(settings), audits_of(settings)
    used = services.profiles["scope"]

    async def one():
        async with services.running():
            payload = (tmp_path / "S-0" / "0.png").read_bytes()
            return await analyse(payload, services, AnalysisOptions(profile="scope", report=False))

    found = asyncio.run(one())
    assert found.profile_sha256 == used.sha256
    assert registry.state_of(used, found.model) == found.device_state == "audited"
    assert registry.releases(used, found.model, BASOPHIL, found.finding.confidence)

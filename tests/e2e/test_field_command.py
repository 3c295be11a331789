"""``wbc field`` with the committed model: the same answer as the service's."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from highdicom.sr import MeasurementReport, srread

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.domain import DISCLAIMER
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import scanner
from orchestrator.settings import Settings
from tests.http_edge import client_of
from tests.synthetic_cells import image_file


async def test_the_command_finds_what_the_service_finds(tmp_path: Path, project_root: Path) -> None:
    random = np.random.default_rng(4)
    image = image_file(paint_field(scanner(random), random, ("Neutrophil", "Lymphocyte")).rgb)
    (tmp_path / "field.png").write_bytes(image)
    command = [sys.executable, "-c", "from orchestrator.commands.cli import main; main()", "field"]
    command += [
        str(tmp_path / "field.png"),
        "--json",
        "--output",
        str(tmp_path / "out"),
        "--format",
        "geojson",
        "--format",
        "dicom",
    ]

    run = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=120, check=True)
    async with client_of(build_app(Settings(), build_services(Settings()))) as client:
        response = await client.post("/v1/fields", files={"file": ("f.png", image)})

    told, answered = json.loads(run.stdout), response.json()
    assert len(answered["cells"]) + len(answered["unidentified"]) == 2
    for name in ("cells", "unidentified", "counts", "red_cell_px"):
        assert told[name] == answered[name]
    geojson = json.loads((tmp_path / "out" / "001_field.geojson").read_text(encoding="utf-8"))
    assert len(geojson["features"]) == 2
    assert geojson["disclaimer"] == DISCLAIMER
    report = srread(tmp_path / "out" / "001_field.dcm")
    assert isinstance(report.content, MeasurementReport)
    assert len(report.content.get_planar_roi_measurement_groups()) == 2

"""Whole fields over HTTP and gRPC: the same finds, in every format, and what is refused."""

import csv
import io
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pydicom
import pytest
from highdicom.sr import MeasurementReport, srread
from prometheus_client import REGISTRY

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.client import Connection, FieldOptions
from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import scanner
from orchestrator.settings import ImageSettings, Settings
from orchestrator.site_head.head_file import SiteHead, made
from orchestrator.site_head.registry import HeadRegistry
from orchestrator.vision.decode import decode
from tests.dicom_files import described, native_file
from tests.fakes.model_server import FEATURES, IDENTITY, FakeModelServer
from tests.grpc_edge import grpc_edge, using
from tests.http_edge import client_of
from tests.synthetic_cells import image_file


class AskedWhoItIs(FakeModelServer):
    """Counts how often it is asked which model it has."""

    asked = 0

    async def identity(self) -> ModelIdentity:
        self.asked += 1
        return await super().identity()


NAMES = ("Neutrophil", "Lymphocyte", "Monocyte")


def field_file(names: tuple[str, ...] = NAMES) -> bytes:
    random = np.random.default_rng(4)
    return image_file(paint_field(scanner(random), random, names).rgb)


@pytest.fixture(scope="module")
def field() -> bytes:
    return field_file()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(
        build_app(Settings(), build_services(Settings(), model_server=FakeModelServer()))
    ) as client:
        yield client


async def asked(client: httpx2.AsyncClient, image: bytes, **parameters: Any) -> httpx2.Response:
    return await client.post("/v1/fields", files={"file": ("f.png", image)}, params=parameters)


def found(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [*document["cells"], *document["unidentified"]]


async def test_every_white_cell_of_a_field_is_told_once_with_its_box_and_outline(
    client: httpx2.AsyncClient, field: bytes
) -> None:
    response = await asked(client, field)

    document = response.json()
    assert response.status_code == 200
    assert len(found(document)) == len(NAMES)
    assert sum(document["counts"].values()) == len(document["cells"])
    assert document["disclaimer"] == DISCLAIMER
    for cell in found(document):
        box = cell["box"]
        rows = [row for polygon in cell["outlines"]["cell"] for row, _ in polygon]
        assert box["top"] == max(0, min(rows))
        assert sum(cell["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        assert "several_cells" not in {reason["code"] for reason in cell["review"]["reasons"]}


async def test_a_field_without_white_cells_is_an_answer_that_says_so(client: httpx2.AsyncClient) -> None:
    response = await asked(client, field_file(()))

    document = response.json()
    assert response.status_code == 200
    assert document["cells"] == []
    assert document["model"] is None
    assert document["message"] == "No white cell was found in this field."


async def test_geojson_has_closed_polygons_with_classes(client: httpx2.AsyncClient, field: bytes) -> None:
    response = await asked(client, field, format="geojson")

    document = response.json()
    assert response.headers["content-type"] == "application/geo+json"
    assert len(document["features"]) == len(NAMES)
    assert document["disclaimer"] == DISCLAIMER
    by = (await asked(client, field)).json()
    for name in ("model", "profile", "profile_sha256", "head", "device_state"):
        assert document[name] == by[name]
    assert document["model"]["name"] == IDENTITY.name
    for feature in document["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert feature["properties"]["classification"]["name"] in (*CLASS_NAMES, "Unidentified")


async def test_csv_has_a_row_for_each_find(client: httpx2.AsyncClient, field: bytes) -> None:
    response = await asked(client, field, format="csv")

    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert {row["disclaimer"] for row in rows} == {DISCLAIMER}


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
async def test_the_annotated_picture_has_the_fields_size_and_boxes(
    client: httpx2.AsyncClient, field: bytes, image_format: str
) -> None:
    response = await asked(client, field, format=image_format)

    plain = cv2.imdecode(np.frombuffer(field, np.uint8), cv2.IMREAD_COLOR)
    drawn = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    assert response.headers["content-type"] == f"image/{image_format}"
    assert plain is not None
    assert drawn is not None
    assert drawn.shape == plain.shape
    assert (np.abs(drawn.astype(int) - plain).max(axis=2) > 60).sum() > 500


async def test_the_dicom_report_has_a_region_for_each_find_of_a_study_of_its_own(
    client: httpx2.AsyncClient, field: bytes
) -> None:
    response = await asked(client, field, format="dicom")

    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/dicom"
    assert "attachment" in response.headers["content-disposition"]
    report = srread(io.BytesIO(response.content))
    assert isinstance(report.content, MeasurementReport)
    assert len(report.content.get_planar_roi_measurement_groups()) == len(NAMES)
    assert (report.PatientName, report.VerificationFlag) == ("", "UNVERIFIED")


async def test_the_dicom_report_of_a_dicom_field_belongs_to_its_study_and_is_refused_without_one(
    client: httpx2.AsyncClient, field: bytes
) -> None:
    rgb = decode(field).rgb
    report = await asked(client, native_file(rgb), format="dicom")
    refused = await asked(client, native_file(rgb, StudyInstanceUID=""), format="dicom")

    assert pydicom.dcmread(io.BytesIO(report.content)).StudyInstanceUID == described().StudyInstanceUID
    assert refused.status_code == 400
    assert "StudyInstanceUID" in refused.json()["detail"]


async def test_without_the_extra_no_field_is_analysed_for_a_dicom_report(
    client: httpx2.AsyncClient, field: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)  # how the import system says that there is none
    response = await asked(client, field, format="dicom")

    assert response.status_code == 501
    assert "wbc-analyzer[dicom]" in response.json()["detail"]


async def test_heat_comes_where_it_is_asked_for(client: httpx2.AsyncClient, field: bytes) -> None:
    without, with_heat = [(await asked(client, field, heatmap=asks)).json() for asks in (False, True)]

    assert all(cell["heatmap"] is None for cell in found(without))
    assert all(cell["heatmap"]["media_type"] == "image/jpeg" for cell in found(with_heat))


async def test_too_small_a_scale_is_refused_in_words(client: httpx2.AsyncClient, field: bytes) -> None:
    response = await asked(client, field, red_cell_px=7)

    assert response.status_code == 422
    assert response.json()["type"].endswith("field-too-small")
    assert "about 7 pixels wide; at least 12" in response.json()["detail"]


async def test_a_profile_says_the_scale_of_its_fields_where_the_caller_does_not(
    field: bytes, tmp_path: Path
) -> None:
    text = (resources.files("orchestrator.profiles") / "default.toml").read_text(encoding="utf-8")
    (tmp_path / "site.toml").write_text(f"red_cell_px = 71.5\n{text}", encoding="utf-8")
    settings = Settings(profiles_dir=tmp_path)
    async with client_of(
        build_app(settings, build_services(settings, model_server=FakeModelServer()))
    ) as client:
        told = [
            (await asked(client, field, **said)).json()["red_cell_px"]
            for said in ({"profile": "site"}, {"profile": "site", "red_cell_px": 60.5}, {})
        ]

    assert told[:2] == [71.5, 60.5]
    assert told[2] not in (71.5, 60.5)


async def test_a_field_may_be_larger_than_the_image_of_a_cell_and_has_a_limit_of_its_own(
    field: bytes,
) -> None:
    pixels = 758 * 758
    for most, status in ((pixels, 200), (pixels - 1, 413)):
        settings = Settings(images=ImageSettings(processes=0, max_pixels=10_000, max_field_pixels=most))
        async with client_of(
            build_app(settings, build_services(settings, model_server=FakeModelServer()))
        ) as client:
            assert (await asked(client, field)).status_code == status


async def test_fields_are_measured(client: httpx2.AsyncClient, field: bytes) -> None:
    def fields() -> float:
        return REGISTRY.get_sample_value("wbc_field_cells_count") or 0.0

    before = fields()
    await asked(client, field)

    assert fields() == before + 1


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_grpc_clients_are_answered_as_http_is(
    client: httpx2.AsyncClient, field: bytes, kind: str
) -> None:
    document = (await asked(client, field, tta="none")).json()

    async with grpc_edge(FakeModelServer()) as edge:
        connection, options = Connection(edge.target), FieldOptions(tta="none")
        answer = await using(kind, connection, "analyze_field", field, options, request_id="lab-1")

    assert (answer.request_id, answer.profile, answer.message) == ("lab-1", "default", None)
    assert (answer.model.name, answer.device_state) == ("wbc", document["device_state"])
    assert answer.counts == document["counts"]
    assert answer.red_cell_px == document["red_cell_px"]
    assert answer.disclaimer == DISCLAIMER
    for told, cells in ((answer.cells, document["cells"]), (answer.unidentified, document["unidentified"])):
        assert len(told) == len(cells)
        for one, cell in zip(told, cells, strict=True):
            assert {edge: getattr(one.box, edge) for edge in cell["box"]} == cell["box"]
            assert [r.code for r in one.review_reasons] == [r["code"] for r in cell["review"]["reasons"]]
            assert one.confidence == one.probabilities[one.class_name] == cell["decision"]["confidence"]
            assert one.views == 1
            assert len(one.outlines.cell) == len(cell["outlines"]["cell"])


def kept_head(registry: HeadRegistry, says: int = 0, version: int = IDENTITY.version) -> SiteHead:
    """One that takes every cell for one of this class (of ``CLASS_NAMES``)."""
    services = build_services(Settings(), model_server=FakeModelServer())
    delta = np.zeros((FEATURES + 1, len(CLASS_NAMES)), np.float32)
    delta[-1, says] = 100.0
    head = made(
        name="default.1",
        model=replace(IDENTITY, version=version),
        recipe_sha256=services.profile("default").recipe_sha256,
        delta=delta,
        temperature=1.0,
        review_threshold=0.7,
        max_energy=0.0,
        features=None,
        made_at=datetime(2026, 11, 30, tzinfo=UTC),
        made_by="anna",
        decision="recommended",
        summary={},
    )
    return registry.add(head, "anna")


@pytest.mark.parametrize(("version", "answers"), [(IDENTITY.version, True), (IDENTITY.version + 1, False)])
async def test_a_site_s_head_answers_for_the_cells_of_a_field_as_long_as_its_model_does(
    tmp_path: Path, field: bytes, version: int, answers: bool
) -> None:
    registry = HeadRegistry(tmp_path)
    kept = kept_head(registry, version=version)
    registry.switch_on(kept.name, "anna")
    settings = Settings(heads_dir=tmp_path)
    server = AskedWhoItIs()

    async with client_of(build_app(settings, build_services(settings, model_server=server))) as client:
        document = (await asked(client, field, tta="adaptive")).json()
        before = server.asked
        empty = (await asked(client, field_file(()))).json()
        assert server.asked == before
        rows = list(csv.DictReader(io.StringIO((await asked(client, field, format="csv")).text)))
    async with client_of(
        build_app(Settings(), build_services(Settings(), model_server=FakeModelServer()))
    ) as client:
        without = (await asked(client, field, tta="adaptive")).json()

    assert document["head"] == (kept.label if answers else None)
    assert empty["head"] is None  # nobody was asked
    assert {row["head"] for row in rows} == {kept.label if answers else ""}
    assert (document["profile_sha256"] == without["profile_sha256"]) is not answers
    assert {cell["decision"]["class"] for cell in found(document)} == (
        {CLASS_NAMES[0]} if answers else {cell["decision"]["class"] for cell in found(without)}
    )


async def test_a_head_in_the_shadow_is_compared_on_the_cells_of_a_field_and_changes_none(
    tmp_path: Path, field: bytes, client: httpx2.AsyncClient
) -> None:
    registry = HeadRegistry(tmp_path)
    registry.run_in_shadow(kept_head(registry, says=4).name, "anna")
    settings = Settings(heads_dir=tmp_path)
    services = build_services(settings, model_server=FakeModelServer())

    async with client_of(build_app(settings, services)) as beside:
        document = (await asked(beside, field)).json()
        told = (await beside.get("/v1/profiles/default/adaptations")).json()["shadow"]

    without = (await asked(client, field)).json()
    assert (document["cells"], document["head"]) == (without["cells"], None)
    answered = {name: count for name, count in document["counts"].items() if count}
    assert answered.pop(CLASS_NAMES[4], 0) == told["alike"] == 0
    assert told["images"] == len(document["cells"]) > 0
    assert {one["answered"]: one["images"] for one in told["otherwise"]} == answered
    assert {one["shadow"] for one in told["otherwise"]} == {CLASS_NAMES[4]}

"""Audits of microscopes over HTTP: followed, labelled blind and judged once."""

import hashlib
import json

import cv2
import pytest

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.device_audits.audit import Audit, AuditCell, AuditFile
from orchestrator.domain import DISCLAIMER
from orchestrator.settings import Settings
from tests.audited_cells import answer_of, audit_of, cell_of, eosinophils, image_sha256, passed_audit, plan_of
from tests.fakes.model_server import FakeModelServer
from tests.http_edge import client_of
from tests.integration.test_http_api import assert_problem
from tests.synthetic_cells import synthetic_cell

PATH = "/v1/device-audits"


def begun(image=None):
    """An audit of 99 cells of which the first waits for its label."""
    audit, labels = Audit.of(plan_of()), {}
    for number in range(99):
        cell = cell_of(number, f"S-{number % 3}")
        if image is not None and number == 0:
            sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
            cell = AuditCell(image_sha256=sha256, specimen="S-0", image=str(image))
        audit = audit.with_cell(cell, answer_of("Eosinophil"))
        if number:
            labels[cell.image_sha256] = "Eosinophil"
    return audit.with_labels(labels)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "audits").mkdir()
    return tmp_path / "audits"


def service(folder):
    settings = Settings(audits_dir=folder)
    return client_of(build_app(settings, build_services(settings, model_server=FakeModelServer())))


async def test_before_the_one_look_nothing_is_told_of_the_answers(folder):
    AuditFile(folder / "scope.json").create(begun())
    async with service(folder) as client:
        found = (await client.get(f"{PATH}/scope")).json()
        labelled = await client.put(
            f"{PATH}/scope/cells/{image_sha256(0)}/label", json={"label": "Neutrophil"}
        )
        listed = (await client.get(PATH)).json()
    assert (found["state"], found["cells"], found["labelled"]) == ("labelling", 99, 98)
    assert [cell["label"] for cell in found["to_label"]].count(None) == 1
    assert found["plan_sha256"] == AuditFile(folder / "scope.json").read().plan_sha256
    assert found["disclaimer"] == listed["disclaimer"] == DISCLAIMER
    assert labelled.json()["state"] == "ready"
    for document in (found, labelled.json(), listed["audits"][0]):
        assert document["classes"] is None
        for told in ("sealed", "probabilities", "confusion", "accepted", "progress"):
            assert told not in json.dumps(document)
    assert [set(cell) for cell in found["to_label"]] == [{"image_sha256", "image", "label"}] * 99


async def test_it_is_judged_once_and_only_when_all_have_a_label(folder):
    AuditFile(folder / "scope.json").create(begun())
    label = f"{PATH}/scope/cells/{image_sha256(0)}/label"
    async with service(folder) as client:
        early = await client.put(f"{PATH}/scope/verdict")
        await client.put(label, json={"label": "Monocyte"})
        await client.put(label, json={"label": "Eosinophil"})  # a later one replaces it
        judged = await client.put(f"{PATH}/scope/verdict")
        again, late = (
            await client.put(f"{PATH}/scope/verdict"),
            await client.put(label, json={"label": "other"}),
        )
    assert_problem(early, 409, "audit-refused")
    assert "98" not in early.json()["detail"]  # no count by class either
    document = judged.json()
    assert document["state"] == "judged"
    (one,) = document["classes"]
    assert (one["class"], one["accepted"], one["errors"], one["released"]) == ("Eosinophil", 99, 0, True)
    for refused in (again, late):
        assert_problem(refused, 409, "audit-refused")
    assert AuditFile(folder / "scope.json").read().verdict is not None


@pytest.mark.parametrize(
    ("audit", "state"),
    [
        (audit_of(plan_of(), eosinophils(50)), "adding"),
        (audit_of(plan_of(), eosinophils(99)), "ready"),
        (passed_audit(), "judged"),
    ],
)
async def test_the_state_says_what_comes_next(folder, audit, state):
    AuditFile(folder / "scope.json").create(audit)
    async with service(folder) as client:
        assert (await client.get(f"{PATH}/scope")).json()["state"] == state


async def test_only_the_image_that_was_added_is_given_out(folder, tmp_path):
    image = tmp_path / "cell.png"
    cv2.imwrite(str(image), synthetic_cell("Eosinophil", 1, 130)[:, :, ::-1])
    AuditFile(folder / "scope.json").create(begun(image))
    place = f"{PATH}/scope/cells/{hashlib.sha256(image.read_bytes()).hexdigest()}/image"
    async with service(folder) as client:
        answer = await client.get(place)
        assert (answer.content, answer.headers["content-type"]) == (image.read_bytes(), "image/png")
        assert "sandbox" in answer.headers["content-security-policy"]
        image.write_bytes(b"something else by now")
        assert_problem(await client.get(place), 404, "image-not-kept")
        gone = f"{PATH}/scope/cells/{image_sha256(5)}/image"
        assert_problem(await client.get(gone), 404, "image-not-kept")
        none = f"{PATH}/scope/cells/{'0' * 64}/image"
        assert_problem(await client.get(none), 404, "unknown-cell")


async def test_what_is_no_audit_or_no_label_is_told_without_a_path(folder):
    AuditFile(folder / "scope.json").create(begun())
    (folder / "broken.json").write_text("{}")
    async with service(folder) as client:
        assert [one["name"] for one in (await client.get(PATH)).json()["audits"]] == ["scope"]
        broken = await client.get(f"{PATH}/broken")
        assert_problem(broken, 409, "audit-refused")
        assert str(folder) not in broken.text
        assert (await client.get(f"{PATH}/..%2Fscope")).status_code == 404
        assert_problem(await client.get(f"{PATH}/other"), 404, "unknown-audit")
        label = f"{PATH}/scope/cells/{image_sha256(0)}/label"
        assert_problem(await client.put(label, json={"label": "Blast"}), 422, "invalid-parameter")
        foreign = f"{PATH}/scope/cells/{'0' * 64}/label"
        assert_problem(await client.put(foreign, json={"label": "other"}), 409, "audit-refused")
        with AuditFile(folder / "scope.json").held():
            busy = await client.put(label, json={"label": "other"})
        assert_problem(busy, 409, "audit-refused")
        assert str(folder) not in busy.text


async def test_without_a_folder_there_are_none():
    async with service(None) as client:
        assert (await client.get(PATH)).json()["audits"] == []
        assert_problem(await client.get(f"{PATH}/scope"), 404, "unknown-audit")

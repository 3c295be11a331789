"""The real service with the committed model: every image of the data set, and everything that is no image."""

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from loadtests.host import cpu_seconds
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.model_contract import CLASS_NAMES
from tests.malformed_images import malformed_images
from tests.running_service import RunningService, running_service
from tests.waiting import LONGEST_S

CONCURRENCY = 4
READY_WITHIN_CPU_S = 10.0
"""Of processor time, which hardly grows on a busy machine; it takes a few seconds."""
PATIENT = {f"WBC_DEADLINE__{name}_S": str(LONGEST_S) for name in ("DEFAULT", "LONGEST")}
"""An image is answered, however busy the machine is; what a deadline ends is tested elsewhere."""


@pytest.fixture(scope="module")
def service(project_root: Path) -> Iterator[RunningService]:
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")
    with running_service(environment=PATIENT) as service:
        yield service


async def posted(
    service: RunningService, uploads: dict[str, bytes], path: str = "/predict"
) -> dict[str, httpx2.Response]:
    """The answers to these uploads, a few of them under way at a time."""
    limit = asyncio.Semaphore(CONCURRENCY)
    async with httpx2.AsyncClient(base_url=service.url, timeout=LONGEST_S) as client:

        async def one(name: str, payload: bytes) -> tuple[str, httpx2.Response]:
            async with limit:
                return name, await client.post(path, files={"file": ("image", payload)})

        return dict(await asyncio.gather(*(one(name, payload) for name, payload in uploads.items())))


def what_is_wrong(answer: dict[str, Any]) -> str:
    """With an answer of ``POST /predict``; empty where nothing is."""
    probabilities = answer["all_probabilities"]
    checks = {
        "class": answer["class"] in CLASS_NAMES,
        "all_probabilities": list(probabilities) == list(CLASS_NAMES)
        and abs(sum(probabilities.values()) - 1) < 1e-4,
        "confidence": answer["confidence"] == probabilities[answer["class"]] == max(probabilities.values()),
        "gradcam_image": base64.b64decode(answer["gradcam_image"], validate=True)[:3] == b"\xff\xd8\xff",
        "llm_report": 0 < len(answer["llm_report"].split()) <= 80,
        "focus_ratio": 0 <= answer["focus_ratio"] <= 1.000001,
        "needs_review": answer["needs_review"] == bool(answer["review_reasons"]),
        "model": len(answer["model"]["sha256"]) == 64,
        "disclaimer": answer["disclaimer"] == DISCLAIMER,
    }
    return ", ".join(name for name, good in checks.items() if not good)


def test_it_is_ready_within_seconds(service, capsys):
    used_s = cpu_seconds(service.process.pid)
    with capsys.disabled():
        print(f"\nready after {used_s:.2f} s of processor time")  # noqa: T201
    assert used_s < READY_WITHIN_CPU_S
    assert httpx2.get(f"{service.url}/readyz").status_code == 200


@pytest.mark.parametrize("split", ["TestA", "TestB"])
async def test_every_image_of_a_test_split_is_answered(service, wbc_data, capsys, split):
    paths = [path for path in sorted((wbc_data / split).rglob("*")) if path.is_file()]
    assert len(paths) > 100
    uploads = {str(path.relative_to(wbc_data)): path.read_bytes() for path in paths}
    started = time.monotonic()
    answers = await posted(service, uploads)
    seconds = time.monotonic() - started
    right = [answers[str(p.relative_to(wbc_data))].json().get("class") == p.parent.name for p in paths]
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{split}: {len(paths)} images, {CONCURRENCY} at a time, {seconds:.1f} s "
            f"({len(paths) / seconds:.1f} images/s), {sum(right) / len(right):.1%} of the labels' class"
        )
    wrong = {
        name: f"{response.status_code} {response.text[:200]}" if response.status_code != 200 else told
        for name, response in answers.items()
        if response.status_code != 200 or (told := what_is_wrong(response.json()))
    }
    assert wrong == {}


async def test_what_is_no_image_is_refused_and_the_service_still_answers(service):
    payloads = dict(malformed_images())
    assert len(payloads) >= 100
    wrong = {
        name: f"{response.status_code} {response.text[:200]}"
        for name, response in (await posted(service, payloads)).items()
        if not 400 <= response.status_code < 500
        or response.headers["content-type"] != MEDIA_TYPE
        or response.json()["status"] != response.status_code
    }
    assert wrong == {}
    assert httpx2.get(f"{service.url}/readyz").status_code == 200


async def test_one_image_is_answered_the_same_alone_and_among_others(service, wbc_data):
    path = next(path for path in sorted((wbc_data / "TestA").rglob("*")) if path.is_file())
    answers = await posted(service, {str(i): path.read_bytes() for i in range(8)}, "/v1/analyses")
    (alone,) = (await posted(service, {"alone": path.read_bytes()}, "/v1/analyses")).values()
    for answer in answers.values():
        assert answer.json()["probabilities"] == pytest.approx(alone.json()["probabilities"], abs=1e-3)


def test_metrics_tell_of_the_model_and_its_batches(service):
    metrics = httpx2.get(f"{service.url}/metrics").text
    model = httpx2.get(f"{service.url}/v1/model").json()["model"]
    assert f'sha256="{model["sha256"]}"' in metrics
    assert "wbc_model_batch_rows_count" in metrics


def test_it_stops_cleanly(project_root):
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")
    with running_service() as service:
        assert httpx2.get(f"{service.url}/livez").status_code == 200
        code, _, err = service.stop()
    assert code == 0
    for trouble in ("WARNING", "ERROR", "Traceback"):
        assert trouble not in err

"""The real service with a store on disk: killed and stopped in the middle, and every cell counted once."""

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.model_contract import CLASS_NAMES
from tests.running_service import RunningService, running_service
from tests.synthetic_cells import cell_file
from tests.waiting import LONGEST_S

CELLS = 24
PATH = "/v1/differentials"


@pytest.fixture(scope="module")
def files() -> list[tuple[str, tuple[str, bytes]]]:
    painted = [cell_file(CLASS_NAMES[n % len(CLASS_NAMES)], n, 140) for n in range(CELLS - 1)]
    return [("files", (f"{n}.png", data)) for n, data in enumerate([*painted, b"no image"])]


def counted(service: RunningService, place: str) -> dict[str, Any]:
    document: dict[str, Any] = httpx2.get(f"{service.url}{place}").json()
    return document


def results_of(document: dict[str, Any]) -> dict[str, Any]:
    return {cell["id"]: cell["result"] for cell in document["cells"] if cell["result"] is not None}


def seen_when(service: RunningService, place: str, enough: Callable[[int], bool]) -> dict[str, Any]:
    """The differential as soon as ``enough`` cells are analysed."""
    ends_s = time.monotonic() + 60
    while time.monotonic() < ends_s:
        document = counted(service, place)
        if enough(len(results_of(document))):
            return document
        time.sleep(0.02)
    raise AssertionError(f"too slow: {document['progress']}")


def follow(url: str, events: list[str]) -> threading.Thread:
    """Read a stream of events in a thread of its own, as a page would."""

    def read() -> None:
        with httpx2.stream("GET", url, timeout=30) as response:
            for line in response.iter_lines():
                if line:
                    events.append(line)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_no_finished_cell_is_lost_and_none_is_counted_twice(tmp_path: Path, files, project_root: Path):
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")
    environment = {
        "WBC_STORE__URL": f"sqlite:///{tmp_path}/wbc.sqlite",
        "WBC_DIFFERENTIAL__CONCURRENCY": "1",
        "WBC_DIFFERENTIAL__LEASE_S": "4",
        "WBC_DIFFERENTIAL__MIN_CELLS": "5",
    }
    form = {"specimen_id": "S-1", "total_wbc": "6.2", "tta": "none"}
    key = {"Idempotency-Key": "order-1"}

    with running_service(environment=environment) as service:
        response = httpx2.post(f"{service.url}{PATH}", data=form, files=files, headers=key)
        assert response.status_code == 202, response.text
        place = response.url.join(response.headers["location"]).path
        before_the_kill = seen_when(service, place, lambda done: done >= 3)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(LONGEST_S)
    assert len(results_of(before_the_kill)) < CELLS - 1

    with running_service(environment=environment) as service:
        again = httpx2.post(f"{service.url}{PATH}", data=form, files=files, headers=key)
        assert again.json()["id"] == response.json()["id"]
        document = seen_when(service, place, lambda done: done == CELLS - 1)
        for cell_id, result in results_of(before_the_kill).items():
            assert results_of(document)[cell_id] == result  # not analysed again
        assert document["state"] == "analysed"
        assert document["progress"] | {"unreviewed": 0} == {
            "total": CELLS, "counted": CELLS - 1, "waiting": 0, "failed": 1, "unreviewed": 0,
        }  # fmt: skip
        assert sum(one["count"] for one in document["counts"]) == CELLS - 1
        assert [cell["number"] for cell in document["cells"]] == list(range(1, CELLS + 1))

        trail = httpx2.get(f"{service.url}{place}/audit").json()["entries"]
        recorded = [entry["cell_id"] for entry in trail if entry["action"] in ("analysed", "failed")]
        assert sorted(recorded) == sorted(cell["id"] for cell in document["cells"])

        signed = httpx2.post(f"{service.url}{place}/sign").json()
        assert signed["state"] == "signed"
        cell = f"{service.url}{place}/cells/{document['cells'][0]['id']}/decision"
        assert httpx2.post(cell, json={"label": "Monocyte"}).status_code == 409

        # A stop in the middle of another order, which somebody follows.
        other_order = httpx2.post(f"{service.url}{PATH}", data=form, files=files)
        other = other_order.url.join(other_order.headers["location"]).path
        events: list[str] = []
        reader = follow(f"{service.url}{other}/events", events)
        seen_when(service, other, lambda done: done >= 1)
        code, _, err = service.stop()
        reader.join(10)
        assert code == 0
        assert "Traceback" not in err
        assert not reader.is_alive()
        assert events[0] == "event: progress"
        assert "event: done" not in events
        listed = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data: ")]
        assert listed[-1]["waiting"] > 0

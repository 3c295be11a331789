"""Every example of a request that `/docs` shows is run, as a person would who copies it."""

import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from orchestrator.documents.differential import EXAMPLE_CELL, EXAMPLE_ID
from orchestrator.domain import DISCLAIMER
from tests.running_service import PROJECT_ROOT, running_service

PATIENCE_S = 60


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    environment = {"WBC_STORE__URL": f"sqlite:///{folder}/wbc.db", "WBC_HEADS_DIR": str(folder)}
    with running_service(environment=environment) as service:
        yield service


@pytest.fixture(scope="module")
def examples(service):
    """The commands of the page, by the operation that they stand at."""
    page = httpx2.get(f"{service.url}/docs").text
    shown = re.findall(r'<h2 id="(\w+)">|<pre class="request"[^>]*>(.*?)</pre>', page, re.DOTALL)
    return {
        name: html.unescape(command)
        for (name, _), (_, command) in itertools.pairwise(shown)
        if name and command
    }


def run(command, **ids):
    """What the service answers, which must be JSON and no error."""
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    for example, found in ids.items():
        command = command.replace({"differential": EXAMPLE_ID, "cell": EXAMPLE_CELL}[example], found)
    done = subprocess.run(
        command,
        shell=True,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def analysed(service, differential):
    """The differential, once its cells are analysed."""
    for _ in range(PATIENCE_S * 10):
        answer = httpx2.get(f"{service.url}/v1/differentials/{differential}").json()
        if answer["state"] == "analysed":
            return answer
        time.sleep(0.1)
    raise AssertionError(answer)


def test_every_operation_that_is_posted_to_has_an_example(service, examples):
    paths = httpx2.get(f"{service.url}/openapi.json").json()["paths"]
    posted = {operations["post"]["operationId"] for operations in paths.values() if "post" in operations}

    assert len(posted) >= 8
    assert set(examples) == posted


def test_the_examples_of_analyses_are_answered(examples):
    predicted, analysis = run(examples["predict"]), run(examples["analyses"])

    assert predicted["class"] == analysis["decision"]["class"] == "Eosinophil"
    assert predicted["disclaimer"] == analysis["disclaimer"] == DISCLAIMER
    assert analysis["report"]["language"] == "tr"


def test_the_example_of_fields_is_answered(examples):
    answered = run(examples["fields"])

    assert [cell["decision"]["class"] for cell in answered["cells"]] == ["Eosinophil"]
    assert answered["disclaimer"] == DISCLAIMER


def test_the_examples_of_open_inference_are_answered(examples):
    asked, by_version = run(examples["v2_infer"]), run(examples["v2_version_infer"])

    assert asked["outputs"][0]["data"] == ["Eosinophil"]
    assert [output["name"] for output in asked["outputs"]] == ["class", "probabilities"]
    assert by_version["outputs"][0] == asked["outputs"][0]


def test_the_examples_of_a_new_microscope_are_answered(examples):
    assert len(run(examples["suggest_cells"])["cells"]) == 1
    learnt = run(examples["learn_adaptation"])
    assert learnt["head"]["name"] == "painted.1"
    assert run(examples["shadow_adaptation"])["shadow"]["name"] == "painted.1"
    assert run(examples["canary_adaptation"])["canary"]["share"] == 0.1
    assert run(examples["activate_adaptation"])["active"] == "painted.1"
    assert run(examples["roll_back_adaptation"])["active"] is None


def test_the_examples_of_differentials_are_answered(service, examples):
    ordered = run(examples["order_differential"])
    first = analysed(service, ordered["id"])
    cell = first["cells"][0]["id"]
    decided = run(examples["decide_cell"], differential=first["id"], cell=cell)
    assert [one["decision"]["label"] for one in decided["cells"] if one["id"] == cell] == ["Monocyte"]
    said = run(examples["comment_on_differential"], differential=first["id"], cell=cell)
    assert [one["cell_id"] for one in said["comments"]] == [cell]
    assert run(examples["sign_differential"], differential=first["id"])["state"] == "signed"
    added = run(examples["add_to_differential"], differential=first["id"])
    assert [one["is_addendum"] for one in added["comments"]] == [False, True]

    other = run(examples["order_differential"])
    assert run(examples["cancel_differential"], differential=other["id"])["state"] == "cancelled"

"""A microscope's own heads over HTTP and gRPC: learnt, judged, switched on, rolled back."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import grpc
import httpx2
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestrator.bootstrap.model_servers import build_model_server
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.bootstrap.store import build_store
from orchestrator.client import AnalyzerError, Connection, LabelledImage
from orchestrator.client.words import ClassName
from orchestrator.commands.cli import app
from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.edge.orders import MAX_SIGNED
from orchestrator.errors import ModelServerUnavailable
from orchestrator.model_contract import CLASS_NAMES, MODEL_NAME
from orchestrator.model_server.base import ModelServer
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.settings import Settings, StoreSettings
from orchestrator.site_head.head_file import read_head
from orchestrator.site_head.registry import Canary, HeadRegistry
from orchestrator.store.encryption import new_key
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import grpc_edge, using
from tests.http_edge import client_of
from tests.integration.test_differentials_api import finished
from tests.integration.test_http_api import assert_problem
from tests.synthetic_cells import synthetic_cell

PATH = "/v1/profiles/painted/adaptations"
REASON = {"reason": "painted cells, and nobody is hurt"}
SPECIMENS = ("S-1", "S-2")
PER_SPECIMEN = 3

T = TypeVar("T")

Cell = tuple[str, str, bytes]
"""Specimen, class, file."""


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    """Thirty, of a camera that gives blue for red."""
    found = []
    for number, specimen in enumerate(SPECIMENS):
        for name in CLASS_NAMES:
            for seed in range(PER_SPECIMEN):
                rgb = synthetic_cell(name, seed=10 + PER_SPECIMEN * number + seed)
                found.append((specimen, name, cv2.imencode(".png", rgb)[1].tobytes()))  # taken for BGR
    return found


@pytest.fixture
def few_cells(cells: list[Cell]) -> list[Cell]:
    """Those of two classes, the fewest that teach; for the served network, which takes its time for each."""
    return [cell for cell in cells if cell[1] in CLASS_NAMES[:2]]


@pytest.fixture
def has_model(project_root: Path) -> bool:
    return any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb"))


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    (tmp_path / "heads").mkdir()
    return tmp_path / "heads"


def form(cells: list[Cell], before: str = "") -> list[tuple[str, bytes]]:
    return [(f"{before}{specimen}/{name}", data) for specimen, name, data in cells]


@asynccontextmanager
async def service(
    heads: Path | None, model_server: ModelServer | None = None, **chosen: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    settings = Settings(heads_dir=heads, **chosen)
    services = build_services(settings, model_server=model_server or FakeModelServer())
    async with client_of(build_app(settings, services, store=build_store(settings.store))) as client:
        yield client


async def learnt(client: httpx2.AsyncClient, cells: list[Cell]) -> dict[str, Any]:
    answer = await client.post(PATH, files=form(cells))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def head_of(client: httpx2.AsyncClient, image: bytes) -> tuple[str | None, Mapping[str, float]]:
    answer = await client.post("/predict", files={"file": image}, data={"profile": "painted"})
    return answer.json()["head"], answer.json()["all_probabilities"]


async def test_a_head_is_learnt_judged_switched_on_and_rolled_back(cells: list[Cell], heads: Path) -> None:
    async with service(heads) as client:
        found = await learnt(client, cells)
        head, trust = found["head"], found["head"]["trust"]
        assert (head["name"], head["number"], head["is_active"]) == ("painted.1", 1, False)
        assert trust["counts"] == [6] * 5
        assert trust["left_out"]["groups"] == 2
        assert [one["class"] for one in trust["left_out"]["recalls"]] == list(CLASS_NAMES)
        assert trust["left_out"]["after_interval"][0] <= trust["left_out"]["after"]
        assert trust["curve"][-1] == {"cells": 6, "balanced_accuracy": trust["left_out"]["after"]}
        assert trust["hold_out"] is None
        assert found["disclaimer"] == DISCLAIMER
        assert all(1 <= int(name) <= len(cells) for name in found["wrong"])
        before = await head_of(client, cells[0][2])
        assert before[0] is None

        on = (await client.post(f"{PATH}/1/activation", json=REASON)).json()
        assert (on["active"], on["versions"][0]["is_active"]) == ("painted.1", True)
        named, probabilities = await head_of(client, cells[0][2])
        assert named == f"painted.1:{head['sha256']}"
        assert probabilities != before[1]

        back = (await client.post(f"{PATH}/roll-back", json={"reason": "the end"})).json()
        assert await head_of(client, cells[0][2]) == before
        listed = (await client.get(PATH)).json()
    assert back == listed
    assert listed["active"] is None
    acts = [(entry["act"], entry["who"], entry["reason"]) for entry in listed["trail"]]
    assert acts == [
        ("made", "local", ""),
        ("switched on", "local", REASON["reason"]),
        ("rolled back", "local", "the end"),
    ]
    assert listed["versions"][0]["trust"] == trust
    assert listed["disclaimer"] == DISCLAIMER


async def answer_of(client: httpx2.AsyncClient, image: bytes) -> dict[str, Any]:
    """All of it but for when it was given."""
    answer = await client.post("/v1/analyses", files={"file": image}, data={"profile": "painted"})
    assert answer.status_code == 200, answer.text
    return {key: value for key, value in answer.json().items() if key not in ("request_id", "timings_ms")}


def sample(answered: str, shadow: str) -> float:
    labels = {"profile": "painted", "answered": answered, "shadow": shadow}
    return REGISTRY.get_sample_value("wbc_head_shadow_comparisons_total", labels) or 0.0


@pytest.mark.parametrize("answers", ["the model's own", "a site's head"])
async def test_a_head_in_the_shadow_changes_no_answer_and_is_compared_as_if_it_were_on(
    cells: list[Cell], heads: Path, answers: str
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        if answers == "a site's head":
            registry = HeadRegistry(heads)
            other = read_head(heads / "painted.1.head")
            other_way = registry.add(replace(other, delta=-other.delta), "anna")
            registry.switch_on(other_way.name, "anna", REASON["reason"])
            await asyncio.sleep(1.1)  # the service looks at the trail once a second
        images = [data for _, _, data in cells[::3]]
        before = [await answer_of(client, image) for image in images]

        started = await client.post(f"{PATH}/shadow", json={"number": 1, "reason": "to see"})
        assert started.status_code == 200, started.text
        nothing_yet: dict[str, object] = {
            "name": "painted.1",
            "unused": None,
            "images": 0,
            "alike": 0,
            "otherwise": [],
        }
        assert started.json()["shadow"] == nothing_yet
        metered = {pair: sample(*pair) for pair in product(CLASS_NAMES, CLASS_NAMES)}
        beside = [await answer_of(client, image) for image in images]
        told = (await client.get(PATH)).json()
        counted = {pair: sample(*pair) - metered[pair] for pair in metered}

        ended = (await client.post(f"{PATH}/shadow", json={"number": None})).json()
        await answer_of(client, images[0])
        assert (await client.get(PATH)).json() == ended
        await client.post(f"{PATH}/1/activation", json=REASON)
        switched = [await answer_of(client, image) for image in images]

    assert beside == before
    assert ended["shadow"] is None
    pairs = Counter(
        (one["decision"]["class"], other["decision"]["class"])
        for one, other in zip(before, switched, strict=True)
    )
    alike = sum(count for (one, other), count in pairs.items() if one == other)
    assert 0 < alike < len(images)  # else nothing would be told apart
    shadow = told["shadow"]
    assert (shadow["name"], shadow["images"], shadow["alike"]) == ("painted.1", len(images), alike)
    otherwise = {(one["answered"], one["shadow"]): one["images"] for one in shadow["otherwise"]}
    assert otherwise == {pair: count for pair, count in pairs.items() if pair[0] != pair[1]}
    assert {pair: count for pair, count in counted.items() if count} == pairs
    assert [(entry["act"], entry["who"], entry["head"], entry["reason"]) for entry in ended["trail"]][
        -2:
    ] == [
        ("shadowed", "local", "painted.1", "to see"),
        ("shadow ended", "local", "painted.1", ""),
    ]


async def test_what_cannot_run_in_the_shadow_is_refused(cells: list[Cell], heads: Path) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        other = replace(read_head(heads / "painted.1.head"), recipe_sha256="ab" * 32)
        HeadRegistry(heads).add(other, "anna")
        none = await client.post(f"{PATH}/shadow", json={"number": None})
        of_other_images = await client.post(f"{PATH}/shadow", json={"number": 2})
        unknown = await client.post(f"{PATH}/shadow", json={"number": 7})
        unsaid = await client.post(f"{PATH}/shadow", json={})
        await client.post(f"{PATH}/1/activation", json=REASON)
        answers = await client.post(f"{PATH}/shadow", json={"number": 1})
    for refused, why in ((none, "no head in the shadow"), (of_other_images, "prepared otherwise")):
        assert_problem(refused, 409, "adaptation-refused")
        assert why in refused.json()["detail"]
    assert_problem(unknown, 404, "unknown-head")
    assert_problem(unsaid, 422, "invalid-parameter")
    assert_problem(answers, 409, "adaptation-refused")
    assert "answers already" in answers.json()["detail"]


async def test_a_shadow_of_another_version_of_the_model_is_said_not_to_be_compared(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        await client.post(f"{PATH}/shadow", json={"number": 1})
    async with service(heads, FakeModelServer(OTHER_MODEL)) as client:
        await answer_of(client, cells[0][2])
        shadow = (await client.get(PATH)).json()["shadow"]
    assert "was learnt on version 1 of the model, and now 2 answers" in shadow["unused"]
    assert (shadow["images"], shadow["otherwise"]) == (0, [])


def others(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of the cell, and by which head."""
    return {key: answer[key] for key in ("head", "profile_sha256", "decision", "probabilities", "review")}


def some_taken(heads: Path, named: Mapping[str, T], each: int) -> list[tuple[T, bool]]:
    """Of what is asked for by these names ``each`` of what a canary of half takes, and of the others."""
    canary = Canary(read_head(heads / "painted.1.head"), 0.5)
    by_taken: dict[bool, list[T]] = {True: [], False: []}
    for name, one in named.items():
        by_taken[canary.takes(name)].append(one)
    assert min(map(len, by_taken.values())) >= each
    return [(one, taken) for taken, ones in by_taken.items() for one in ones[:each]]


def by_sha256(images: list[bytes]) -> Mapping[str, bytes]:
    return {hashlib.sha256(image).hexdigest(): image for image in images}


async def test_a_canary_answers_its_share_as_if_it_were_on_and_is_counted_until_it_ends(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        chosen = some_taken(heads, by_sha256([data for _, _, data in cells]), 3)
        images, taken = [image for image, _ in chosen], [is_taken for _, is_taken in chosen]
        without = [others(await answer_of(client, image)) for image in images]
        begun = await client.post(f"{PATH}/canary", json={"number": 1, "share": 0.5, **REASON})
        assert begun.status_code == 200, begun.text
        label = f"painted.1:{begun.json()['versions'][0]['sha256']}"
        assert begun.json()["canary"] == {
            "name": "painted.1",
            "share": 0.5,
            "unused": None,
            "answers": [
                {"head": "painted.1", "images": 0, "for_review": 0},
                {"head": None, "images": 0, "for_review": 0},
            ],
        }
        assert (begun.json()["active"], begun.json()["versions"][0]["is_active"]) == (None, False)
        during = [others(await answer_of(client, image)) for image in images]
        told = (await client.get(PATH)).json()["canary"]["answers"]
        ended = (await client.post(f"{PATH}/canary", json={"number": None, "reason": "seen"})).json()
        after = others(await answer_of(client, images[0]))
        await client.post(f"{PATH}/1/activation", json=REASON)
        on = [others(await answer_of(client, image)) for image in images]

    assert [one["head"] for one in during] == [label if is_taken else None for is_taken in taken]
    assert during == [
        with_it if is_taken else own for is_taken, with_it, own in zip(taken, on, without, strict=True)
    ]
    assert after == without[0] != during[0]
    assert [(one["head"], one["images"]) for one in told] == [
        ("painted.1", 3),
        (None, 3),
    ]
    for one, is_canary in zip(told, (True, False), strict=True):
        mine = [answer for answer, is_taken in zip(during, taken, strict=True) if is_taken is is_canary]
        assert one["for_review"] == sum(answer["review"]["needed"] for answer in mine)
    assert ended["canary"] is None
    acts = [(entry["act"], entry["head"], entry["share"], entry["reason"]) for entry in ended["trail"]]
    assert acts[-2:] == [
        ("canary begun", "painted.1", 0.5, REASON["reason"]),
        ("canary ended", "painted.1", None, "seen"),
    ]


async def test_a_canary_takes_what_a_switch_takes_and_ends_with_it_or_a_way_back(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        kept = read_head(heads / "painted.1.head")
        registry = HeadRegistry(heads)
        for changes in (
            {"decision": "too few"},
            {"decision": "not better"},
            {"recipe_sha256": "ab" * 32},
            {"decision": "recommended"},
        ):
            registry.add(replace(kept, **changes), "anna")  # type: ignore[arg-type]

        async def begun(**said: Any) -> httpx2.Response:
            return await client.post(f"{PATH}/canary", json=said)

        refused = [
            (await begun(number=2, **REASON), "stays off"),
            (await begun(number=3), "give a reason"),
            (await begun(number=4, **REASON), "prepared otherwise"),
            (await begun(number=None), "has no canary"),
        ]
        for answer, why in refused:
            assert_problem(answer, 409, "adaptation-refused")
            assert why in answer.json()["detail"]
        for share in (0, 0.6):
            assert_problem(await begun(number=5, share=share), 422, "invalid-parameter")
        assert_problem(await begun(number=9), 404, "unknown-head")
        assert (await begun(number=5)).json()["canary"]["share"] == 0.1
        assert (await begun(number=3, share=0.5, **REASON)).json()["canary"]["name"] == "painted.3"
        on = (await client.post(f"{PATH}/5/activation", json=REASON)).json()
        assert (on["active"], on["canary"]) == ("painted.5", None)
        assert (await begun(number=1, **REASON)).json()["canary"]["answers"][1]["head"] == "painted.5"
        back = (await client.post(f"{PATH}/roll-back", json={})).json()
    assert (back["active"], back["canary"]) == (None, None)


async def test_a_specimen_is_answered_by_one_head_while_a_canary_answers_for_half(
    cells: list[Cell], heads: Path, tmp_path: Path
) -> None:
    store = StoreSettings(url=SecretStr(f"sqlite:///{tmp_path}/wbc.db"))
    async with service(heads, store=store) as client:
        await learnt(client, cells)
        await client.post(f"{PATH}/canary", json={"number": 1, "share": 0.5, **REASON})
        names = {name: name for name in map("S-{}".format, range(100))}
        for name, taken in some_taken(heads, names, 2):
            ordered = await client.post(
                "/v1/differentials",
                files=[("files", data) for _, _, data in cells[:3]],
                data={"specimen_id": name, "profile": "painted"},
            )
            await finished(client, ordered)
            said = (await client.get(f"/v1/differentials/{ordered.json()['id']}")).json()
            assert {cell["result"]["head"] is not None for cell in said["cells"]} == {taken}


async def test_http_grpc_and_the_command_choose_the_same_head_and_answer_with_the_same_bits(
    few_cells: list[Cell], heads: Path, tmp_path: Path, has_model: bool
) -> None:
    if not has_model:
        pytest.skip("no model: model_repository/wbc holds no version")
    files = []
    for number, (_, _, data) in enumerate(few_cells):
        files.append(tmp_path / f"{number:02}.png")
        files[-1].write_bytes(data)
    async with service(heads, build_model_server(Settings())) as client:
        await learnt(client, few_cells)
        await client.post(f"{PATH}/canary", json={"number": 1, "share": 0.5, **REASON})
        over_http = [await answer_of(client, data) for _, _, data in few_cells]
    settings = Settings(heads_dir=heads)
    async with grpc_edge(build_model_server(settings), settings=settings) as edge:
        options = pb.AnalysisOptions(profile="painted")
        asked = [pb.AnalyzeRequest(image=data, options=options) for _, _, data in few_cells]
        over_grpc = [(await edge.stub.Analyze(one)).analysis for one in asked]
    command = ["analyse", *map(str, files), "--profile", "painted", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env={"WBC_HEADS_DIR": str(heads)})
    assert result.exit_code == 0, result.output
    by_command = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]

    head = read_head(heads / "painted.1.head")
    takes = [Canary(head, 0.5).takes(sha256) for sha256 in by_sha256([data for _, _, data in few_cells])]
    assert [one["head"] for one in over_http] == [head.label if taken else None for taken in takes]
    assert [one["head"] for one in by_command] == [one["head"] for one in over_http]
    assert [one.head or None for one in over_grpc] == [one["head"] for one in over_http]
    for one, of_grpc, of_command in zip(over_http, over_grpc, by_command, strict=True):
        assert one["probabilities"] == of_command["probabilities"]
        assert list(one["probabilities"].values()) == [of.probability for of in of_grpc.probabilities]


async def test_what_is_held_out_is_scored_and_not_learnt(cells: list[Cell], heads: Path) -> None:
    held = [
        ("S-3", name, cv2.imencode(".png", synthetic_cell(name, 77))[1].tobytes()) for name in CLASS_NAMES
    ]
    async with service(heads) as client:
        answer = (await client.post(PATH, files=[*form(cells), *form(held, "holdout/")])).json()
        shared = await client.post(PATH, files=[*form(cells), *form(cells[:1], "holdout/")])
    assert answer["head"]["trust"]["hold_out"]["cells"] == 5
    assert answer["head"]["trust"]["left_out"]["cells"] == 30
    assert_problem(shared, 409, "adaptation-refused")
    assert "31 is among the cells to learn from, as 1" in shared.json()["detail"]


async def test_an_image_that_is_none_is_named_and_fails_nothing_else(cells: list[Cell], heads: Path) -> None:
    async with service(heads) as client:
        found = await learnt(client, [*cells, ("S-2", "Neutrophil", b"no image")])
    assert [(one["name"], one["problem"]) for one in found["failed"]] == [("31", "unsupported-image")]
    assert found["head"]["trust"]["counts"] == [6] * 5


async def test_a_head_that_is_not_better_takes_a_reason_and_one_of_one_specimen_stays_off(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        found = await learnt(client, [("S-1", name, data) for _, name, data in cells])
        assert found["head"]["decision"] == "too few"
        refused = await client.post(f"{PATH}/1/activation", json=REASON)
        assert_problem(refused, 409, "adaptation-refused")
        assert "of one specimen" in refused.json()["detail"]
        assert_problem(await client.post(f"{PATH}/7/activation", json=REASON), 404, "unknown-head")
        assert_problem(await client.post(f"{PATH}/roll-back", json={}), 409, "adaptation-refused")
        assert (await client.get(PATH)).json()["active"] is None


async def test_unlabelled_cells_are_suggested_and_nothing_is_kept(cells: list[Cell], heads: Path) -> None:
    unlabelled = [("files", data) for _, _, data in cells[15:]]
    async with service(heads) as client:
        answer = await client.post(
            f"{PATH}/suggestions", files=[*form(cells[:15]), *unlabelled], data={"wanted": "4"}
        )
        wrong = await client.post(f"{PATH}/suggestions", files=unlabelled, data={"wanted": "some"})
    numbers = [one["image"] for one in answer.json()["cells"]]
    assert len(set(numbers)) == 4
    assert all(number > 15 for number in numbers)  # none that has a label
    assert_problem(wrong, 422, "invalid-parameter")
    assert list(heads.iterdir()) == []


async def test_what_is_no_form_of_labels_is_refused(cells: list[Cell], heads: Path) -> None:
    async with service(heads) as client:
        assert_problem(await client.post(PATH, files=[("S-1/Blast", cells[0][2])]), 400, "malformed-upload")
        assert_problem(
            await client.post(PATH, files=[("S" * 65 + "/Monocyte", cells[0][2])]), 422, "invalid-parameter"
        )
        few = await client.post(PATH, files=form(cells[:2]))
        assert_problem(few, 409, "adaptation-refused")
        nowhere = await client.get("/v1/profiles/none/adaptations")
        assert_problem(nowhere, 422, "invalid-parameter")


async def test_without_a_folder_for_heads_it_says_which_setting() -> None:
    async with service(None) as client:
        refused = await client.get(PATH)
    assert_problem(refused, 501, "heads-off")
    assert "WBC_HEADS_DIR" in refused.json()["detail"]


async def commanded(*arguments: str, **environment: str) -> None:
    """``wbc adapt``, which has an event loop of its own."""
    command = ["adapt", "--profile", "painted", *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)
    assert result.exit_code == 0, result.output


async def signed(client: httpx2.AsyncClient, cells: list[Cell], specimen: str) -> str:
    files = [("files", data) for one, _, data in cells if one == specimen]
    ordered = await client.post(
        "/v1/differentials", files=files, data={"specimen_id": specimen, "profile": "painted"}
    )
    place = f"/v1/differentials/{ordered.json()['id']}"
    assert (await finished(client, ordered))["state"] == "analysed"
    names = [name for one, name, _ in cells if one == specimen]
    for cell in (await client.get(place)).json()["cells"]:
        label = {"label": names[cell["number"] - 1]}
        assert (await client.post(f"{place}/cells/{cell['id']}/decision", json=label)).status_code == 200
    assert (await client.post(f"{place}/sign")).status_code == 200
    return str(ordered.json()["id"])


async def test_what_people_signed_teaches_as_its_images_do(
    few_cells: list[Cell], heads: Path, tmp_path: Path, has_model: bool
) -> None:
    url, key = f"sqlite:///{tmp_path}/wbc.db", new_key()
    store = StoreSettings(
        url=SecretStr(url),
        keep_images="always",
        encryption_key=SecretStr(key),
    )
    async with service(heads, store=store) as client:
        ids = [await signed(client, few_cells, specimen) for specimen in SPECIMENS]
        await learnt(client, few_cells)
        answer = await client.post(PATH, json={"signed": ids})
        unknown = await client.post(PATH, json={"signed": ["0"]})
    assert answer.status_code == 201, answer.text
    assert_problem(unknown, 404, "unknown-differential")
    assert content(heads / "painted.1.head") == content(heads / "painted.2.head")
    if not has_model:
        return
    other = {"WBC_HEADS_DIR": str(heads), "WBC_STORE__URL": url, "WBC_STORE__ENCRYPTION_KEY": key}
    await commanded("--signed", ids[0], "--signed", ids[1], **other)
    assert read_head(heads / "painted.3.head").summary["counts"] == [6, 6, 0, 0, 0]


async def test_kept_cells_are_learnt_from_without_their_images_over_http_and_by_the_command(
    few_cells: list[Cell], heads: Path, tmp_path: Path, has_model: bool
) -> None:
    more = few_cells[8::3]  # one of each class
    first = [cell for cell in few_cells if cell not in more]
    key = new_key()
    server = build_model_server(Settings()) if has_model else None
    async with service(heads, server, store=StoreSettings(encryption_key=SecretStr(key))) as client:
        kept = await learnt(client, first)
        both = await client.post(PATH, files=form(more), data={"cells_of": "1"})
        whole = await learnt(client, few_cells)
        unknown = await client.post(PATH, files=form(more), data={"cells_of": "7"})
        unsaid = await client.post(PATH, files=form(more), data={"cells_of": "the first"})
        listed = (await client.get(PATH)).json()
    assert kept["head"]["cells_kept"] is True
    assert both.status_code == 201, both.text
    assert content(heads / "painted.2.head") == content(heads / "painted.3.head")
    assert whole["head"]["trust"] == both.json()["head"]["trust"]
    assert_problem(unknown, 404, "unknown-head")
    assert_problem(unsaid, 422, "invalid-parameter")
    assert [version["cells_kept"] for version in listed["versions"]] == [True] * 3
    if not has_model:
        return
    for number, (specimen, name, data) in enumerate(more):
        file = tmp_path / "more" / specimen / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    environment = {"WBC_HEADS_DIR": str(heads), "WBC_STORE__ENCRYPTION_KEY": key}
    await commanded(str(tmp_path / "more"), "--cells-of", "1", **environment)
    assert read_head(heads / "painted.4.head").summary["counts"] == [6, 6, 0, 0, 0]
    await commanded("--verify", **environment)
    (heads / "painted.1.cells").write_bytes((heads / "painted.2.cells").read_bytes())
    with pytest.raises(AssertionError, match=r"painted\.1\.cells: is not what was kept"):
        await commanded("--verify", **environment)


async def test_a_head_that_does_not_fit_its_profile_is_told_once(
    cells: list[Cell], heads: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        registry = HeadRegistry(heads)
        other = replace(read_head(heads / "painted.1.head"), recipe_sha256="ab" * 32)
        registry.switch_on(registry.add(other, "anna").name, "anna", REASON["reason"])
        services = build_services(Settings(heads_dir=heads), model_server=FakeModelServer())
        assert [services.profile("painted").head for _ in range(3)] == [None] * 3
    assert [record for record in caplog.messages if "prepared otherwise" in record] == [
        "site head painted.2 is of images prepared otherwise: not used"
    ]


OTHER_MODEL = ModelIdentity(MODEL_NAME, 2, None)


async def test_a_head_of_another_version_of_the_model_is_not_said_to_answer(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        await client.post(f"{PATH}/1/activation", json=REASON)
    async with service(heads, FakeModelServer(OTHER_MODEL)) as client:
        listed = (await client.get(PATH)).json()
        assert (listed["active"], listed["versions"][0]["is_active"]) == (None, False)
        assert "painted.1 was learnt on version 1 of the model, and now 2 answers" in listed["unused"]
        assert (await head_of(client, cells[0][2]))[0] is None
    settings = Settings(heads_dir=heads)
    async with grpc_edge(FakeModelServer(OTHER_MODEL), settings=settings) as edge:
        told = (await edge.stub.ListAdaptations(pb.ListAdaptationsRequest(profile="painted"))).heads
        assert (told.HasField("active"), told.unused) == (False, listed["unused"])
        back = (await edge.stub.RollBackAdaptation(pb.RollBackAdaptationRequest(profile="painted"))).heads
    assert (back.HasField("active"), back.HasField("unused")) == (False, False)


async def test_a_head_that_could_not_answer_is_not_switched_on(cells: list[Cell], heads: Path) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        other = replace(read_head(heads / "painted.1.head"), recipe_sha256="ab" * 32)
        HeadRegistry(heads).add(other, "anna")
        of_other_images = await client.post(f"{PATH}/2/activation", json=REASON)
    async with service(heads, FakeModelServer(OTHER_MODEL)) as client:
        of_another_model = await client.post(f"{PATH}/1/activation", json=REASON)
        listed = (await client.get(PATH)).json()
    for refused, why in ((of_other_images, "prepared otherwise"), (of_another_model, "on version 1")):
        assert_problem(refused, 409, "adaptation-refused")
        assert why in refused.json()["detail"]
    assert (listed["active"], listed["unused"]) == (None, None)
    assert [entry["act"] for entry in listed["trail"]] == ["made", "made"]


class Away(FakeModelServer):
    async def identity(self) -> ModelIdentity:
        raise ModelServerUnavailable("the model server is not ready")


async def test_while_no_model_answers_heads_are_listed_and_rolled_back(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        await client.post(f"{PATH}/1/activation", json=REASON)
    async with service(heads, Away()) as client:
        listed = (await client.get(PATH)).json()
        assert listed["active"] is None
        assert "the model server is not ready" in listed["unused"]
        assert_problem(await client.post(f"{PATH}/1/activation", json=REASON), 503, "model-unavailable")
        back = await client.post(f"{PATH}/roll-back", json={})
    assert (back.status_code, back.json()["unused"]) == (200, None)


async def test_a_head_whose_file_does_not_hold_is_told_and_stops_no_other(
    cells: list[Cell], heads: Path
) -> None:
    async with service(heads) as client:
        await learnt(client, cells)
        HeadRegistry(heads).add(read_head(heads / "painted.1.head"), "anna")
        (heads / "painted.1.head").write_text("{}")
        on = await client.post(f"{PATH}/2/activation", json=REASON)
        refused = await client.post(f"{PATH}/1/activation", json=REASON)
    assert on.status_code == 200, on.text
    assert (on.json()["active"], [one["number"] for one in on.json()["versions"]]) == ("painted.2", [2])
    assert "painted.1.head: no site head" in on.json()["broken"][0]
    assert_problem(refused, 409, "adaptation-refused")


async def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    cells: list[Cell], heads: Path
) -> None:
    (heads / ".heads.jsonl.lock").mkdir()
    model_server = ScriptedModelServer()
    async with service(heads, model_server) as client:
        refused = await client.post(PATH, files=form(cells))
    assert_problem(refused, 409, "adaptation-refused")
    assert "the folder of heads cannot be written" in refused.json()["detail"]
    assert model_server.asked == 0


def content(path: Path) -> dict[str, Any]:
    """All that was learnt and found, but for who made it when as which number."""
    said = dict(json.loads(path.read_text())["content"])
    return {key: value for key, value in said.items() if key not in ("name", "made_at", "made_by")}


async def test_http_grpc_and_the_command_learn_the_same_bits(
    few_cells: list[Cell], tmp_path: Path, has_model: bool
) -> None:
    if not has_model:
        pytest.skip("no model: model_repository/wbc holds no version")
    folders = {name: tmp_path / name for name in ("http", "grpc", "command")}
    for folder in folders.values():
        folder.mkdir()
    for number, (specimen, name, data) in enumerate(few_cells):
        file = tmp_path / "labelled" / specimen / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    await commanded(str(tmp_path / "labelled"), WBC_HEADS_DIR=str(folders["command"]))
    async with service(folders["http"], build_model_server(Settings())) as client:
        await learnt(client, few_cells)
        told = (await client.get(PATH)).json()
    settings = Settings(heads_dir=folders["grpc"])
    async with grpc_edge(build_model_server(settings), settings=settings) as edge:

        async def messages() -> AsyncIterator[pb.LearnAdaptationRequest]:
            yield pb.LearnAdaptationRequest(
                adaptation=pb.Adaptation(profile="painted", images=len(few_cells))
            )
            for specimen, name, data in reversed(few_cells):  # whatever their order
                label = pb.CellClass.Value(f"CELL_CLASS_{name.upper()}")
                image = pb.LabelledImage(image=data, label=label, specimen=specimen)
                yield pb.LearnAdaptationRequest(image=image)

        learning = await edge.stub.LearnAdaptation(messages())
        listed = (await edge.stub.ListAdaptations(pb.ListAdaptationsRequest(profile="painted"))).heads

    kept = {name: content(folder / "painted.1.head") for name, folder in folders.items()}
    assert kept["http"] == kept["command"]
    assert kept["grpc"] == kept["command"]
    trust = told["versions"][0]["trust"]
    assert learning.head.trust.left_out.after == trust["left_out"]["after"]
    assert [point.balanced_accuracy for point in learning.head.trust.curve] == [
        point["balanced_accuracy"] for point in trust["curve"]
    ]
    assert [one.after for one in learning.head.trust.left_out.recalls] == [
        one["after"] for one in trust["left_out"]["recalls"]
    ]
    assert learning.disclaimer == listed.disclaimer == DISCLAIMER
    assert not listed.HasField("active")
    assert [one.sha256 for one in listed.versions] == [learning.head.sha256]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_clients_learn_switch_on_roll_back_and_suggest(
    cells: list[Cell], heads: Path, kind: str
) -> None:
    labelled = [LabelledImage(data, cast(ClassName, name), specimen) for specimen, name, data in cells]
    async with grpc_edge(FakeModelServer(), settings=Settings(heads_dir=heads)) as edge:
        ask = partial(using, kind, Connection(edge.target))
        unlabelled = [replace(image, label=None) for image in labelled[15:]]
        suggested = await ask("suggest_cells", "painted", labelled[:15] + unlabelled, wanted=3)
        learnt = await ask("learn_adaptation", "painted", [*labelled, LabelledImage(b"none", "Monocyte")])
        put = await ask("shadow_adaptation", "painted", 1, reason="to see")
        for image in labelled[::3]:
            await edge.stub.Analyze(
                pb.AnalyzeRequest(image=image.image, options=pb.AnalysisOptions(profile="painted"))
            )
        shadow = (await ask("list_adaptations", "painted")).shadow
        taken = await ask("shadow_adaptation", "painted", None)
        tried = await ask("canary_adaptation", "painted", 1, share=0.5, **REASON)
        for data, _ in some_taken(heads, by_sha256([one.image for one in labelled]), 2):
            await edge.stub.Analyze(
                pb.AnalyzeRequest(image=data, options=pb.AnalysisOptions(profile="painted"))
            )
        canary = (await ask("list_adaptations", "painted")).canary
        with pytest.raises(AnalyzerError) as too_much:
            await ask("canary_adaptation", "painted", 1, share=0.7, **REASON)
        over = await ask("canary_adaptation", "painted", None)
        on = await ask("activate_adaptation", "painted", 1, **REASON)
        back = await ask("roll_back_adaptation", "painted", reason="the end")
        listed = await ask("list_adaptations", "painted")
        with pytest.raises(AnalyzerError) as refused:
            await ask("roll_back_adaptation", "painted")
    assert (len(suggested.cells), suggested.cells[0].looks_like in CLASS_NAMES) == (3, True)
    assert all(cell.image > 15 for cell in suggested.cells)  # none that has a label
    head, trust = learnt.head, learnt.head.trust
    assert (head.name, head.number, head.is_active, learnt.disclaimer) == ("painted.1", 1, False, DISCLAIMER)
    assert (trust.counts, trust.kept, trust.hold_out) == ((6,) * 5, (), None)
    assert [recall.class_name for recall in trust.left_out.recalls] == list(CLASS_NAMES)
    assert trust.left_out.after_interval[0] <= trust.left_out.after == trust.curve[-1].balanced_accuracy
    assert [(one.name, one.problem) for one in learnt.failed] == [("31", "unsupported-image")]
    assert (on.active, on.versions[0].is_active, on.versions[0].sha256) == ("painted.1", True, head.sha256)
    assert (back.active, back) == (None, listed)
    assert [(act.act, act.reason) for act in back.trail] == [
        ("made", ""),
        ("shadowed", "to see"),
        ("shadow ended", ""),
        ("canary begun", REASON["reason"]),
        ("canary ended", ""),
        ("switched on", REASON["reason"]),
        ("rolled back", "the end"),
    ]
    assert [act.share for act in back.trail] == [None, None, None, 0.5, None, None, None]
    assert (tried.canary.name, tried.canary.share, tried.canary.unused) == ("painted.1", 0.5, None)
    assert [(one.head, one.images) for one in canary.answers] == [("painted.1", 2), (None, 2)]
    assert too_much.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (over.canary, over.active) == (None, None)
    assert (put.shadow.name, put.shadow.unused, put.shadow.images) == ("painted.1", None, 0)
    assert (shadow.images, taken.shadow) == (10, None)
    assert shadow.alike == 10 - sum(one.images for one in shadow.otherwise) < 10
    assert all(one.answered != one.shadow and one.shadow in CLASS_NAMES for one in shadow.otherwise)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_clients_learn_from_kept_cells(cells: list[Cell], heads: Path, kind: str) -> None:
    labelled = [LabelledImage(data, cast(ClassName, name), specimen) for specimen, name, data in cells]
    settings = Settings(heads_dir=heads, store=StoreSettings(encryption_key=SecretStr(new_key())))
    async with grpc_edge(FakeModelServer(), settings=settings) as edge:
        ask = partial(using, kind, Connection(edge.target))
        first = await ask("learn_adaptation", "painted", [*labelled[:28]])
        both = await ask("learn_adaptation", "painted", labelled[28:], cells_of=1)
    assert (first.head.cells_kept, first.head.trust.counts) == (True, (6, 6, 6, 6, 4))
    assert both.head.trust.counts == (6,) * 5


def test_a_label_that_is_no_class_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="CELL_CLASS_BLAST"):
        LabelledImage(b"", "Blast")  # type: ignore[arg-type]


async def test_over_grpc_bounds_are_those_of_http(heads: Path) -> None:
    async with grpc_edge(FakeModelServer(), settings=Settings(heads_dir=heads)) as edge:

        async def suggesting(wanted: int) -> AsyncIterator[pb.SuggestCellsRequest]:
            yield pb.SuggestCellsRequest(suggestion=pb.Suggestion(profile="painted", wanted=wanted))

        async def learning(asked: pb.Adaptation) -> AsyncIterator[pb.LearnAdaptationRequest]:
            yield pb.LearnAdaptationRequest(adaptation=asked)

        too_many = ["0"] * (MAX_SIGNED + 1)
        adaptations = pb.Adaptation(signed=too_many), pb.Adaptation(hold_out=too_many)
        for call, asked in (
            *((edge.stub.SuggestCells, suggesting(wanted)) for wanted in (-1, 10_000)),
            *((edge.stub.LearnAdaptation, learning(adaptation)) for adaptation in adaptations),
        ):  # one after the other: there is a place for one
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(asked)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_over_grpc_what_has_no_folder_says_so() -> None:
    async with grpc_edge(FakeModelServer()) as edge:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await edge.stub.ListAdaptations(pb.ListAdaptationsRequest(profile="painted"))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED

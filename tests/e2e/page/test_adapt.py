"""A new microscope on the page: labelled by keyboard, learnt, judged, switched on, and rolled back."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from orchestrator.cell_features import projection
from orchestrator.domain import ModelIdentity
from orchestrator.model_contract import MODEL_NAME
from orchestrator.profiles import load_profiles
from orchestrator.site_head.head_file import SiteHead, made
from orchestrator.site_head.registry import Canary, HeadRegistry
from tests.e2e.page.conftest import CLASSES, CLIENT, LOOKS, WAIT_MS, choose, kept, violations
from tests.running_service import RunningService, running_service
from tests.synthetic_cells import synthetic_cell

REASON = "painted cells, and nobody is hurt"


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def service(heads: Path) -> Iterator[RunningService]:
    with running_service(environment={"WBC_HEADS_DIR": str(heads)}) as service:
        yield service


@pytest.fixture(scope="module")
def new_microscope(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty-five cells, by class in turn, of a camera that gives blue for red."""
    folder = tmp_path_factory.mktemp("new")
    paths = []
    for number in range(25):
        path = folder / f"{number:02}.png"
        cv2.imwrite(str(path), synthetic_cell(CLASSES[number % 5], seed=30 + number))  # taken for BGR
        paths.append(path)
    return paths


def analysed(page: Page, path: Path) -> dict[str, Any]:
    page.goto("/#/cells")
    with page.expect_response("**/v1/analyses", timeout=WAIT_MS) as answer:
        page.set_input_files("#files", str(path))
    return dict(answer.value.json())


def label(page: Page, first: int, total: int) -> None:
    """All cells from this one on, by the keys of the review."""
    for number in range(first, total):
        expect(page.locator("#adapt-cell")).to_contain_text(f"Cell {number + 1} / {total}")
        page.keyboard.press(str(number % 5 + 1))


def test_a_new_microscope_is_taught_switched_on_and_rolled_back(
    page: Page, new_microscope: list[Path]
) -> None:
    choose(page, language="en", theme="light", profile="default")
    before = analysed(page, new_microscope[0])
    assert before["head"] is None
    expect(page.locator(".device-note a")).to_contain_text("teach the service this microscope")
    page.click("#label-these")
    expect(page.locator("#adapt-profile")).to_have_value("default")
    page.set_input_files("#files", [str(path) for path in new_microscope[1:5]])
    page.fill("#adapt-specimen", "second slide")
    page.set_input_files("#files", [str(path) for path in new_microscope[5:]])
    expect(page.locator("#adapt-cell")).to_contain_text("Cell 1 / 25")
    expect(page.locator("#labels")).to_contain_text("To 5 of each class")
    expect(page.locator("#learn")).to_be_disabled()
    expect(page.locator(".disclaimer")).to_be_visible()

    page.locator("#main").focus()
    label(page, 0, 25)

    expect(page.locator("#labels")).to_contain_text("To 10 of each class")
    expect(page.locator("#labels")).to_contain_text("Neutrophil 5")
    expect(page.locator("#specimens")).to_contain_text("second slide: 20 of 20 cells have a label")
    page.click("#learn:enabled")
    trust = page.locator("#trust")
    expect(trust).to_contain_text("What default.1 would do", timeout=WAIT_MS)
    expect(trust.locator(".comparison caption")).to_contain_text("95 % interval")
    expect(trust.locator(".comparison tbody tr")).to_have_count(6)
    expect(trust.locator(".curve tbody tr")).not_to_have_count(0)
    expect(trust).to_contain_text("Nothing was held out")
    expect(page.locator("#answers")).to_have_text("The model’s own head answers.")
    kept(page, "adapt_trust")
    for language, theme in LOOKS:
        choose(page, language=language, theme=theme)
        page.click("nav a[data-view='adapt']")
        expect(page.locator("#versions > li")).to_have_count(1)
        page.click("#versions summary")
        assert violations(page) == [], (language, theme)
    choose(page, language="en", theme="light")
    page.click("nav a[data-view='adapt']")

    page.click("#switch-1")
    page.click("#switch-yes")
    expect(page.locator("#adapt-problem")).to_contain_text("reason of at least")
    page.fill("#reason-1", REASON)
    page.click("#switch-1")
    page.click("#switch-yes")
    expect(page.locator("#answers")).to_have_text("default.1 answers for this microscope.")
    after = analysed(page, new_microscope[0])
    assert after["head"].startswith("default.1:")
    assert after["probabilities"] != before["probabilities"]

    page.click("nav a[data-view='adapt']")
    page.click("#roll-back")
    page.click("#back-yes")
    expect(page.locator("#answers")).to_have_text("The model’s own head answers.")
    page.click("#trail summary")
    expect(page.locator("#trail li")).to_have_count(3)
    again = analysed(page, new_microscope[0])
    assert (again["head"], again["probabilities"]) == (None, before["probabilities"])


def head_of(profile: str, model: ModelIdentity, recipe_sha256: str, delta: NDArray[np.float32]) -> SiteHead:
    return made(
        name=f"{profile}.1",
        model=model,
        recipe_sha256=recipe_sha256,
        delta=delta,
        temperature=1.0,
        review_threshold=0.5,
        max_energy=0.0,
        features=None,
        made_at=datetime(2026, 11, 30, tzinfo=UTC),
        made_by="anna",
        decision="recommended",
        summary={"why": "it was better"},
    )


def of_basophils(profile: str, service: RunningService) -> SiteHead:
    """A head to which every cell is one."""
    said = CLIENT.get(f"{service.url}/v1/model").json()["model"]
    model = ModelIdentity(said["name"], said["version"], said["sha256"])
    delta = np.zeros((len(projection().directions) + 1, len(CLASSES)), np.float32)
    delta[-1, 0] = 100.0
    return head_of(profile, model, load_profiles()[profile].recipe_sha256, delta)


def test_a_head_that_does_not_answer_is_said_so_and_can_be_rolled_back(page: Page, heads: Path) -> None:
    registry = HeadRegistry(heads)
    head = head_of("chula", ModelIdentity(MODEL_NAME, 1, None), "ab" * 32, np.zeros((4, 5), np.float32))
    registry.switch_on(registry.add(head, "anna").name, "anna")
    page.goto("/#/adapt/chula")
    expect(page.locator("#unused")).to_contain_text("chula.1 was learnt on version 1")
    expect(page.locator("#answers")).to_have_text("The model’s own head answers.")
    page.click("#roll-back")
    page.click("#back-yes")
    expect(page.locator("#unused")).to_have_count(0)
    expect(page.locator("#roll-back")).to_have_count(0)


def test_a_head_in_the_shadow_is_said_with_how_often_it_agreed_and_why_it_is_not_compared(
    page: Page, service: RunningService, heads: Path, new_microscope: list[Path]
) -> None:
    head = of_basophils("raabin", service)
    registry = HeadRegistry(heads)
    beside = registry.add(head, "anna")
    registry.run_in_shadow(beside.name, "anna", "to see")
    choose(page, language="en", theme="light", profile="raabin")
    page.goto("/#/adapt/raabin")
    shadow = page.locator("#shadow")
    expect(shadow).to_have_text(
        "In the shadow, raabin.1 answers nobody; in this process it agreed on 0 of 0 images."
    )
    answer = analysed(page, new_microscope[1])
    assert (answer["head"], answer["profile"]) == (None, "raabin")
    alike = int(answer["decision"]["class"] == CLASSES[0])
    page.click("nav a[data-view='adapt']")
    expect(shadow).to_contain_text(f"it agreed on {alike} of 1 images")
    expect(page.locator("#answers")).to_have_text("The model’s own head answers.")
    choose(page, language="tr")
    page.click("nav a[data-view='adapt']")
    expect(shadow).to_contain_text(f"1 görüntünün {alike} tanesinde")
    assert violations(page) == []
    page.click("#trail summary")
    expect(page.locator("#trail")).to_contain_text("gölgeye aldı")
    choose(page, language="en")

    of_other_images = registry.add(replace(head, recipe_sha256="ab" * 32), "anna")
    registry.run_in_shadow(of_other_images.name, "anna")
    page.click("nav a[data-view='adapt']")
    expect(shadow).to_contain_text("is not compared: raabin.2 was learnt from images that were prepared")


def test_a_head_answers_a_share_from_a_chosen_button_until_it_is_ended(
    page: Page, service: RunningService, heads: Path, new_microscope: list[Path]
) -> None:
    registry = HeadRegistry(heads)
    tried = registry.add(of_basophils("bccd", service), "anna")
    taken = next(
        path
        for path in new_microscope
        if Canary(tried, 0.25).takes(sha256(path.read_bytes()).hexdigest())
        and not Canary(tried, 0.1).takes(sha256(path.read_bytes()).hexdigest())
    )
    choose(page, language="en", theme="light", profile="bccd")
    page.goto("/#/adapt/bccd")
    expect(page.locator("#canary")).to_have_count(0)
    page.click("#canary-1")
    expect(page.locator("#canary-share")).to_have_value("0.1")
    page.select_option("#canary-share", "0.25")
    assert violations(page) == []
    page.click("#canary-yes")
    line = page.locator("#canary")
    expect(line).to_contain_text("As the canary, bccd.1 answers for 25% of images and specimens.")
    expect(line).to_contain_text("the model’s own answered 0 images")
    expect(page.locator("#answers")).to_have_text("The model’s own head answers.")
    answer = analysed(page, taken)
    assert answer["head"] == tried.label
    assert answer["decision"]["class"] == "Basophil"
    review = int(any(one["code"] != "device_unknown" for one in answer["review"]["reasons"]))
    page.click("nav a[data-view='adapt']")
    expect(line).to_contain_text(f"bccd.1 answered 1 images, {review} of them for review")
    kept(page, "adapt_canary")
    choose(page, language="tr")
    page.click("nav a[data-view='adapt']")
    expect(line).to_contain_text("deneme olarak bccd.1 yanıtlıyor")
    assert violations(page) == []
    page.click("#canary-end")
    expect(line).to_have_count(0)
    page.click("#trail summary")
    expect(page.locator("#trail")).to_contain_text("denemeyi bitirdi")
    expect(page.locator("#trail")).to_contain_text("denemeye aldı · %25")
    choose(page, language="en")
    assert analysed(page, taken)["head"] is None


def test_no_specimen_is_held_out_or_mixed_with_another_by_its_name(
    page: Page, new_microscope: list[Path]
) -> None:
    page.goto("/#/adapt/painted")
    specimen = page.locator("#adapt-specimen")
    specimen.fill("holdout")
    page.set_input_files("#files", str(new_microscope[0]))
    expect(page.locator("#adapt-problem")).to_contain_text("No specimen can be called “holdout”")
    expect(page.locator("#specimens")).to_have_count(0)
    specimen.fill("S-2")
    page.set_input_files("#files", str(new_microscope[0]))
    expect(page.locator("#adapt-problem")).to_have_text("")
    expect(specimen).to_have_value("S-1")
    page.set_input_files("#files", str(new_microscope[1]))
    expect(page.locator("#specimens li")).to_have_count(2)
    expect(specimen).to_have_value("S-3")


def test_the_most_useful_cells_come_first(page: Page, new_microscope: list[Path]) -> None:
    page.goto("/#/adapt/painted")
    page.set_input_files("#files", [str(path) for path in new_microscope[:6]])
    sources = page.locator("#adapt-cell")
    expect(sources).to_contain_text("Cell 1 / 6")
    with page.expect_response("**/suggestions", timeout=WAIT_MS) as answer:
        page.click("#suggest")
    first = answer.value.json()["cells"][0]["image"]
    assert 1 <= first <= 6
    expect(page.locator("#suggest")).to_be_enabled()
    expect(sources).to_contain_text("Cell 1 / 6")

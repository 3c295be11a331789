"""Beside the cell: its sizes and a scale, what tells its classes apart, decided cells to compare it with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.page.conftest import choose, kept, order, violations
from tests.e2e.page.test_decisions import kept_document, waiting

UM_PER_PX = 0.1


def ranked(cell: dict[str, Any]) -> list[str]:
    """Its classes, the likeliest first."""
    probabilities: dict[str, float] = cell["result"]["probabilities"]
    return sorted(probabilities, key=lambda name: -probabilities[name])


@pytest.fixture
def scaled(page: Page) -> None:
    """The service says of the profile how large a pixel is."""

    def said(route: Route) -> None:
        document = route.fetch().json()
        for profile in document["profiles"]:
            profile["um_per_px"] = UM_PER_PX
        route.fulfill(body=json.dumps(document), content_type="application/json")

    page.route("**/v1/model", said)
    page.reload()


def lengths(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def test_decided_cells_and_painted_ones_stand_beside_the_cell(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:4], "C-compare")
    numbers = {cell["id"]: cell for cell in kept_document(page)["cells"]}
    expect(page.locator(".compare.painted")).to_have_count(2)
    assert violations(page) == []
    likeliest = ranked(numbers[ids[1]])[0]

    page.locator(f"#as-{ranked(numbers[ids[1]])[0]}").click()

    expect(page.locator(f".tile[data-cell='{ids[1]}'] a")).to_have_attribute("aria-current", "true")
    first, second = sorted(ranked(numbers[ids[1]])[:2])
    expect(page.locator("#apart")).to_contain_text(f"{first}: ")
    expect(page.locator("#apart")).to_contain_text(f"{second}")
    alike = page.locator(".compared figure", has_text="most like it").locator("a")
    expect(alike).to_have_count(1)
    expect(alike).to_have_attribute("aria-label", f"Cell {numbers[ids[0]]['number']}, {likeliest}")
    expect(alike.locator("img")).to_have_js_property("complete", True)
    painted = page.locator(".compare.painted")
    expect(painted).to_have_count(1)
    expect(painted).to_have_text("painted")
    expect(painted.locator("img")).to_have_attribute("alt", re.compile("painted, not a photograph"))
    kept(page, "comparison")
    alike.click()
    expect(page.locator(f".tile[data-cell='{ids[0]}'] a")).to_have_attribute("aria-current", "true")


def test_without_a_scale_sizes_are_in_pixels_and_there_is_no_bar(page: Page, cells: list[Path]) -> None:
    order(page, cells[:1], "C-pixels")
    expect(page.locator("#sizes")).to_have_text(re.compile(r"^Cell \d+ px, nucleus \d+ px in diameter"))
    expect(page.locator("#scale-bar")).to_be_hidden()


@pytest.mark.usefixtures("scaled")
def test_with_a_scale_sizes_are_in_micrometres_and_the_bar_is_as_long_as_it_says(
    page: Page, cells: list[Path]
) -> None:
    order(page, cells[:1], "C-scale")
    sizes, bar = page.locator("#sizes"), page.locator("#scale-bar")
    expect(sizes).to_have_text(re.compile(r"^Cell [\d.]+ µm, nucleus [\d.]+ µm in diameter"))
    box = kept_document(page)["cells"][0]["result"]["box"]
    cell, nucleus, share = lengths(sizes.text_content() or "")[:3]
    longest = UM_PER_PX * max(box["bottom"] - box["top"], box["right"] - box["left"])
    assert 0.6 * longest < cell < 1.1 * longest
    assert share == pytest.approx(100 * (nucleus / cell) ** 2, abs=2)

    height, width = kept_document(page)["cells"][0]["result"]["image_size"]
    assert height > 0
    for _ in range(2):
        frame = page.locator("#frame").bounding_box()
        drawn = bar.bounding_box()
        zoom = float(
            page.locator("#frame .stage").evaluate("(one) => one.style.getPropertyValue('--zoom') || 1")
        )
        assert frame is not None
        assert drawn is not None
        (said,) = lengths(bar.text_content() or "")
        shown = drawn["width"] / (frame["width"] * zoom) * width * UM_PER_PX
        assert shown == pytest.approx(said, rel=0.03)
        page.locator("#frame").focus()
        for _ in range(3):
            page.keyboard.press("+")
    assert violations(page) == []
    kept(page, "scale")

    choose(page, language="tr")
    page.go_back()
    expect(sizes).to_contain_text("Çap: hücre")
    expect(page.locator("#apart")).to_contain_text(re.compile("sitoplazma|granül"))

"""All cells of a specimen by class: selected, moved by key and by drag, accepted as a class, taken back."""

import base64
import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from orchestrator.domain import UInt8Array
from tests.e2e.page.conftest import order, violations
from tests.e2e.page.test_decisions import kept_document, said, waiting
from tests.synthetic_cells import synthetic_cell

TILES = "#gallery .tile"


def opened(page: Page, cells: list[Path], name: str) -> list[str]:
    """The gallery of a specimen of an unknown microscope; the ids of its cells."""
    ids = waiting(page, cells, name)
    page.keyboard.press("g")
    expect(page.locator(TILES)).to_have_count(len(cells))
    expect(page.locator("#review-detail")).to_be_hidden()
    return ids


def tile(page: Page, cell: str) -> Locator:
    return page.locator(f"{TILES}[data-cell='{cell}']")


def seen(page: Page, cell: str) -> None:
    """Wait until its picture was on the screen for as long as a look takes."""
    tile(page, cell).scroll_into_view_if_needed()
    expect(tile(page, cell).locator("img")).to_have_js_property("complete", True)
    page.wait_for_timeout(1500)


def group(page: Page, label: str) -> Locator:
    return page.locator(f"#gallery .group[data-group='{label}']")


def test_selected_cells_are_moved_by_one_key_and_taken_back_by_one(page: Page, cells: list[Path]) -> None:
    opened(page, cells[:6], "G-keys")
    boxes = page.locator(".tile-pick")
    order = [one.get_attribute("data-cell") or "" for one in page.locator(TILES).all()]
    seen(page, order[3])
    boxes.nth(0).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.locator("#gallery-picked")).to_have_text("4 selected")

    page.keyboard.press("5")

    assert said(kept_document(page)) == dict.fromkeys(order[:4], "Neutrophil")
    expect(group(page, "Neutrophil").locator(".tile")).not_to_have_count(0)
    for cell in order[:4]:
        expect(group(page, "Neutrophil").locator(f"[data-cell='{cell}']")).to_be_visible()
    page.click("#undo")
    assert said(kept_document(page)) == {}
    page.click("#redo")
    assert said(kept_document(page)) == dict.fromkeys(order[:4], "Neutrophil")
    page.keyboard.press("g")
    expect(page.locator("#review-detail")).to_be_visible()
    expect(page.locator(".review-list .tile")).to_have_count(2)


def test_a_tile_is_dragged_to_another_class(page: Page, cells: list[Path]) -> None:
    page.set_viewport_size({"width": 1280, "height": 1800})  # a drag begins where the pointer is
    ids = opened(page, cells[:4], "G-drag")
    seen(page, ids[0])
    target = group(page, "Monocyte")
    if target.locator(f"[data-cell='{ids[0]}']").count():
        target = group(page, "Basophil")
    label = target.get_attribute("data-group")

    tile(page, ids[0]).locator("img").drag_to(target)

    assert said(kept_document(page)) == {ids[0]: label}
    expect(target.locator(f"[data-cell='{ids[0]}']")).to_be_visible()


def test_a_class_is_accepted_but_for_cells_that_were_not_on_the_screen(page: Page, cells: list[Path]) -> None:
    waiting(page, cells, "G-accept")
    page.set_viewport_size({"width": 420, "height": 420})
    page.keyboard.press("g")
    last = page.locator("#gallery .group:not([hidden])", has=page.locator(".accept-group:not([hidden])")).last
    label = last.get_attribute("data-group")
    unseen = int(re.findall(r"\d+", last.locator("h4").text_content() or "")[0])

    last.locator(".accept-group").dispatch_event("click")  # without bringing it into sight

    expect(page.locator("#gallery-picked")).to_have_text(f"{unseen} were not on the screen yet and are left.")
    assert said(kept_document(page)) == {}
    last.scroll_into_view_if_needed()
    expect(last.locator(".tile")).to_have_count(unseen)
    for one in last.locator(".tile").all():
        seen(page, one.get_attribute("data-cell") or "")
    last.locator(".accept-group").click()
    decided = said(kept_document(page))
    assert len(decided) == unseen
    assert set(decided.values()) == {label}


def test_cells_are_sorted_and_filtered_as_asked(page: Page, cells: list[Path]) -> None:
    ids = opened(page, cells[:6], "G-sort")
    document = kept_document(page)
    sure = {cell["id"]: cell["result"]["confidence"] for cell in document["cells"]}
    seen(page, ids[0])
    tile(page, ids[0]).locator(".tile-pick").check()
    page.keyboard.press("0")
    kept_document(page)

    page.select_option("#gallery-sort", "doubt")
    for one in page.locator("#gallery .group:not([hidden])").all():
        shown = [sure[of.get_attribute("data-cell") or ""] for of in one.locator(".tile").all()]
        assert shown == sorted(shown)

    page.select_option("#gallery-filter", "waiting")
    expect(page.locator(TILES)).to_have_count(5)
    page.select_option("#gallery-filter", "decided")
    expect(page.locator(TILES)).to_have_count(1)
    expect(tile(page, ids[0])).to_be_visible()


def test_the_gallery_is_used_by_keyboard_alone_and_breaks_no_rule_of_accessibility(
    page: Page, cells: list[Path]
) -> None:
    opened(page, cells[:4], "G-axe")
    order = [one.get_attribute("data-cell") or "" for one in page.locator(TILES).all()]
    seen(page, order[1])
    assert violations(page) == []

    page.locator(f"{TILES} a").first.focus()
    page.keyboard.press("j")
    expect(tile(page, order[1]).locator("a")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("2")

    assert said(kept_document(page)) == {order[1]: "Eosinophil"}
    page.locator(f"{TILES} a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#review-detail")).to_be_visible()
    expect(page.locator("#gallery")).to_be_hidden()


def test_only_tiles_near_the_screen_are_in_the_document_and_all_are_reached_by_keyboard(
    page: Page, cells: list[Path]
) -> None:
    waiting(page, cells, "G-many")
    page.set_viewport_size({"width": 320, "height": 300})
    page.keyboard.press("g")
    page.locator("#gallery-size").evaluate(
        "(size) => { size.value = 240; size.dispatchEvent(new Event('input')); }"
    )
    expect(page.locator(TILES)).not_to_have_count(0)
    page.wait_for_timeout(500)
    assert page.locator(TILES).count() < len(cells)

    first = page.locator(TILES).first
    id_of_first = first.get_attribute("data-cell") or ""
    first.locator(".tile-pick").check()
    page.evaluate("document.activeElement.blur()")
    page.locator(f"{TILES} a").first.focus()
    reached = [id_of_first]
    for _ in cells[1:]:
        page.keyboard.press("j")
        focused = page.locator(f"{TILES}:has(a:focus)")
        expect(focused).to_be_in_viewport()
        reached.append(focused.get_attribute("data-cell") or "")

    assert len(set(reached)) == len(cells)
    expect(tile(page, id_of_first)).to_have_count(0)
    last = page.locator(f"{TILES}:has(a:focus)")
    of_all = int(last.get_attribute("aria-setsize") or "")
    assert int(last.get_attribute("aria-posinset") or "") == of_all
    assert f"({of_all})" in (page.locator("#gallery .group:has(a:focus) h4").text_content() or "")
    assert violations(page) == []
    page.evaluate("scrollTo(0, 0)")
    expect(tile(page, id_of_first).locator(".tile-pick")).to_be_checked()


def shown(picture: Locator, width: int) -> UInt8Array:
    """A picture, as soon as it is that wide, uint8 ``[H, W, 3]``, BGR."""
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("naturalWidth", width)
    url = picture.evaluate(
        """(image) => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL("image/png");
        }"""
    )
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8), 1), np.uint8)


def rounded(number: float) -> int:
    """As a browser does."""
    return math.floor(number + 0.5)


@pytest.fixture
def unlike_images(tmp_path: Path) -> dict[Path, UInt8Array]:
    """Files of cells of unlike sizes, in the middle and at the edge, BGR."""
    images = {
        tmp_path / f"{cut}.png": synthetic_cell("Neutrophil", seed)[cut:, cut:, ::-1]
        for seed, cut in enumerate((0, 40, 60, 70))
    }
    for file, image in images.items():
        cv2.imwrite(str(file), image)
    return images


def are_cut_at_one_scale(pictures: list[Locator], images: list[UInt8Array], boxes: list[Any]) -> None:
    sizes = [1.25 * max(box["bottom"] - box["top"], box["right"] - box["left"]) for box in boxes]
    usual = sorted(sizes)[2]
    for tiled, image, box, size in zip(pictures, images, boxes, sizes, strict=True):
        side = rounded(max(usual, size))
        height, width = image.shape[:2]
        top = rounded(min(max((box["top"] + box["bottom"] - side) / 2, 0), height - side))
        left = rounded(min(max((box["left"] + box["right"] - side) / 2, 0), width - side))
        picture = shown(tiled, min(side, 240))
        assert picture.shape == (min(side, 240), min(side, 240), 3)
        wanted = cv2.resize(image[top : top + side, left : left + side], picture.shape[1::-1])
        assert np.abs(picture.astype(float) - wanted).mean() < 8


def test_tiles_are_cut_to_their_cells_at_one_scale_wherever_in_the_image_they_lie(
    page: Page, unlike_images: dict[Path, UInt8Array]
) -> None:
    order(page, list(unlike_images), "G-scale")
    page.keyboard.press("g")

    cells = kept_document(page)["cells"]

    pictures = [tile(page, cell["id"]).locator("img") for cell in cells]
    are_cut_at_one_scale(pictures, list(unlike_images.values()), [cell["result"]["box"] for cell in cells])


def test_tiles_of_single_cells_are_cut_as_those_of_a_specimen_and_the_detail_is_the_whole_image(
    page: Page, unlike_images: dict[Path, UInt8Array]
) -> None:
    boxes = []
    for file in unlike_images:
        with page.expect_response("**/v1/analyses") as response:
            page.set_input_files("#files", file)
        boxes.append(response.value.json()["box"])
        expect(page.locator("#clear")).to_be_visible()

    pictures = [page.locator(f"{TILES}[data-id='{number}'] img") for number in (1, 2, 3, 4)]
    are_cut_at_one_scale(pictures, list(unlike_images.values()), boxes)
    pictures[0].click()
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 360)

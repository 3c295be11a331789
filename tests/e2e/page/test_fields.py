"""Whole fields: boxes where cells were painted, chosen by mouse and keyboard, and what an empty one says."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from orchestrator.domain import DISCLAIMER
from orchestrator.painting.fields import PaintedField, paint_field
from orchestrator.painting.looks import scanner
from tests.e2e.page.conftest import choose, kept, tab_to, violations
from tests.synthetic_cells import image_file

NAMES = ("Neutrophil", "Lymphocyte", "Monocyte")
MARKS = "#detail .stage .box"


def painted(names: tuple[str, ...] = NAMES) -> PaintedField:
    random = np.random.default_rng(4)
    return paint_field(scanner(random), random, names)


def send(page: Page, folder: Path, rgb: np.ndarray[Any, Any], name: str = "field.png") -> dict[str, Any]:
    """Send a field and open it; the service's answer."""
    path = folder / name
    path.write_bytes(image_file(rgb))
    page.check("#kind-field")
    with page.expect_response("**/v1/fields") as response:
        page.set_input_files("#files", str(path))
    page.locator(".tile a", has_text=name).click()
    return dict(response.value.json())


def place_of(part: Locator) -> tuple[float, float, float, float]:
    box = part.bounding_box()
    assert box is not None
    return box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other)]
    return shared / (sum(areas) - shared)


def test_boxes_lie_where_the_cells_were_painted_and_are_listed_with_what_the_service_said(
    page: Page, tmp_path: Path
) -> None:
    field = painted()
    answer = send(page, tmp_path, field.rgb)

    expect(page.locator(MARKS)).to_have_count(len(NAMES))
    left, top, right, _ = place_of(page.locator("#detail .stage img"))
    scale = field.rgb.shape[1] / (right - left)
    drawn = [place_of(page.locator(f"{MARKS} .ground").nth(at)) for at in range(len(NAMES))]
    places = [((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
              for x0, y0, x1, y1 in drawn]  # fmt: skip
    for cell in field.cells:
        assert max(overlap(cell.box, place) for place in places) > 0.75

    found = [*answer["cells"], *answer["unidentified"]]
    lines = page.locator(".found label").all_inner_texts()
    assert len(lines) == len(found)
    for number, (cell, line) in enumerate(zip(answer["cells"], lines, strict=False), start=1):
        assert line.startswith(f"{number} {cell['decision']['class']}")
        own = {reason["code"] for reason in cell["review"]["reasons"]} - {"device_unknown"}
        assert ("review" in line) == bool(own)
        expect(page.locator(MARKS).nth(number - 1)).to_have_class(f"box {'doubtful' if own else 'sure'}")
    counted = dict(
        zip(
            *(page.locator(f"#detail .picture .facts {part}").all_inner_texts() for part in ("dt", "dd")),
            strict=True,
        )
    )
    assert {name: int(counted[name]) for name in answer["counts"]} == answer["counts"]
    expect(page.get_by_text(DISCLAIMER).first).to_be_in_viewport()
    kept(page, "field")


def test_lines_tell_doubtful_and_unidentified_cells_apart_without_colour(page: Page, tmp_path: Path) -> None:
    answer = send(page, tmp_path, painted().rgb)
    sure, doubtful, strange = answer["cells"] + answer["unidentified"]
    blurred, unknown = [{"code": code, "message": f"It is {code}."} for code in ("blurred", "device_unknown")]
    sure |= {"review": {"needed": True, "reasons": [unknown]}, "is_cut": True}
    doubtful |= {"review": {"needed": True, "reasons": [blurred, unknown]}, "is_clump": True}
    answer |= {"cells": [sure, doubtful], "unidentified": [strange]}
    page.route("**/v1/fields", lambda route: route.fulfill(json=answer))
    send(page, tmp_path, painted().rgb, "again.png")

    expect(page.locator(MARKS)).to_have_count(3)
    styles = [
        page.locator(f"{MARKS} .line").nth(at).evaluate(
            "(line) => [getComputedStyle(line).stroke, getComputedStyle(line).strokeDasharray]"
        )
        for at in range(3)
    ]  # fmt: skip
    assert len({colour for colour, _ in styles}) == 3
    assert styles[0][1] == "none"
    assert len({dashes for _, dashes in styles}) == 3
    lines = page.locator(".found label")
    expect(lines.nth(0)).to_contain_text("cut by the frame")
    expect(lines.nth(0)).not_to_contain_text("review")
    expect(lines.nth(1)).to_contain_text("review · perhaps several")
    expect(lines.nth(2)).to_contain_text("3 Unidentified")
    lines.nth(1).click()
    expect(page.locator("#found-cell .reasons li")).to_have_text(["It is blurred."])


def test_a_cell_is_chosen_by_its_box_by_the_list_and_by_keys(page: Page, tmp_path: Path) -> None:
    send(page, tmp_path, painted().rgb)
    chosen, radios = page.locator(f"{MARKS}.chosen"), page.locator(".found input")
    expect(radios).to_have_count(3)

    tab_to(page, ".found input")
    page.keyboard.press("ArrowDown")
    expect(chosen.locator("text")).to_contain_text("2 ")
    expect(page.locator("#found-cell h4").first).to_contain_text("2 ")
    page.keyboard.press("k")
    expect(chosen.locator("text")).to_contain_text("1 ")
    expect(radios.nth(0)).to_be_checked()
    page.locator(MARKS).nth(2).locator(".line").click()
    expect(radios.nth(2)).to_be_checked()
    expect(chosen).to_have_count(1)

    frame, stage = page.locator("#frame"), page.locator(".stage")
    frame.focus()
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("k")
    expect(radios.nth(1)).to_be_checked()
    x0, y0, x1, y1 = place_of(chosen.locator(".ground"))
    left, top, right, bottom = place_of(frame)
    assert left < (x0 + x1) / 2 < right
    assert top < (y0 + y1) / 2 < bottom
    page.keyboard.press("k")
    where = stage.get_attribute("style")
    radios.nth(2).evaluate("(radio) => { radio.checked = true; }")
    page.mouse.click((left + right) / 2 + 40, (top + bottom) / 2 + 40)  # on a box: it is chosen
    expect(radios.nth(0)).to_be_checked()
    assert stage.get_attribute("style") == where
    page.mouse.click(left + 8, top + 8)  # beside it: that place goes to the middle
    assert stage.get_attribute("style") != where
    where = stage.get_attribute("style")
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    page.mouse.down()
    page.mouse.move((left + right) / 2 + 60, (top + bottom) / 2 + 30, steps=3)
    page.mouse.up()
    assert stage.get_attribute("style") != where


def test_what_was_found_is_downloaded_in_the_services_formats(page: Page, tmp_path: Path) -> None:
    field = painted()
    send(page, tmp_path, field.rgb)
    files = {}
    for kind in ("geojson", "csv", "png"):
        with page.expect_download() as download:
            page.click(f"[data-export='{kind}']")
        assert download.value.suggested_filename.endswith(f".{kind}")
        files[kind] = Path(download.value.path()).read_bytes()

    assert len(json.loads(files["geojson"])["features"]) == len(NAMES)
    rows = list(csv.DictReader(files["csv"].decode("utf-8-sig").splitlines()))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    drawn = cv2.imdecode(np.frombuffer(files["png"], np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert drawn.shape == field.rgb.shape


@pytest.mark.parametrize(
    ("language", "says", "too_small"),
    [
        ("en", "No white cell was found in this field.", "at least 12 are needed"),
        ("tr", "Bu alanda beyaz hücre bulunamadı.", "daha yüksek büyütmeyle çekin"),
    ],
)
def test_an_empty_field_and_too_small_a_scale_are_said_in_words(
    page: Page, tmp_path: Path, language: str, says: str, too_small: str
) -> None:
    choose(page, language=language)
    page.goto("/#/cells")
    empty = painted(()).rgb
    send(page, tmp_path, empty)
    expect(page.locator("#detail h3")).to_have_text(says)
    assert page.locator(MARKS).count() == 0
    assert violations(page) == []

    small = cv2.resize(painted().rgb, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)
    send(page, tmp_path, np.asarray(small), "small.png")
    expect(page.locator("#detail .problem")).to_contain_text(too_small)


@pytest.mark.parametrize(
    ("language", "says"), [("en", "3 white cells found"), ("tr", "3 beyaz hücre bulundu")]
)
def test_axe_finds_nothing_in_a_field_and_the_page_fits_a_narrow_screen(
    page: Page, tmp_path: Path, language: str, says: str
) -> None:
    choose(page, language=language, theme="dark" if language == "tr" else "light")
    page.goto("/#/cells")
    assert violations(page) == []
    send(page, tmp_path, painted().rgb)
    expect(page.locator("#detail h3")).to_have_text(says)
    page.locator(".found label").first.click()

    assert violations(page) == []
    kept(page, f"field_{language}")
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    kept(page, f"field_narrow_{language}")


def test_fields_count_their_cells_in_the_overview_and_are_no_single_images(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    answer = send(page, tmp_path, painted().rgb)
    page.goto("/#/cells")
    expect(page.locator("#choose-cell")).to_contain_text("Choose a field")
    expect(page.locator("#order-these")).to_be_hidden()
    assert sum(map(int, page.locator(".overview .count").all_inner_texts())) == len(answer["cells"])

    page.check("#kind-cell")
    page.set_input_files("#files", str(cells[0]))
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator("#order-these")).to_have_text("Request a differential of this image")
    expect(page.locator("#clear")).to_be_visible()
    assert sum(map(int, page.locator(".overview .count").all_inner_texts())) == len(answer["cells"]) + 1
    page.goto("/#/history")
    expect(page.get_by_text(cells[0].name)).to_be_visible()
    expect(page.get_by_text("field.png")).to_have_count(0)


def test_a_field_is_still_there_when_the_page_is_loaded_anew(page: Page, tmp_path: Path) -> None:
    send(page, tmp_path, painted().rgb)
    expect(page.locator(MARKS)).to_have_count(len(NAMES))

    page.reload()

    page.locator(".tile a", has_text="field.png").click()
    expect(page.locator(MARKS)).to_have_count(len(NAMES))
    with page.expect_download() as saved:
        page.click("[data-export='csv']")
    rows = Path(saved.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert len(list(csv.DictReader(rows))) == len(NAMES)

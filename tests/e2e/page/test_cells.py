"""Images one by one: bringing them in, the gallery, the cell that is looked at, and what can go wrong."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, Response, Route, expect

from orchestrator.domain import DISCLAIMER
from tests.colour_difference import ciede2000
from tests.e2e.page.conftest import choose, comes_true, kept

GROUPS = ".gallery .group:not([hidden]) h3"


def send(page: Page, *paths: Path) -> None:
    page.set_input_files("#files", [str(path) for path in paths])


def all_done(page: Page) -> None:
    expect(page.locator("#clear")).to_be_visible()


def fields_sent(page: Page) -> Callable[[], list[list[str]]]:
    """Listens from now on: names and values of the fields of each form that the page sends."""
    page.evaluate("""() => {
        const ask = window.fetch;
        window.sent = [];
        window.fetch = (path, options) => {
            if (options?.body) {
                for (const [field, value] of options.body) window.sent.push([field, value.name ?? value]);
            }
            return ask(path, options);
        };
    }""")
    return lambda: list(page.evaluate("window.sent"))


def test_the_samples_are_one_click_away_and_fall_into_their_classes(page: Page) -> None:
    page.click("#samples")

    all_done(page)

    assert page.locator(GROUPS).all_inner_texts() == [
        "Basophil (1)", "Eosinophil (1)", "Lymphocyte (1)", "Monocyte (1)", "Neutrophil (1)",
    ]  # fmt: skip
    expect(page.get_by_text(DISCLAIMER).first).to_be_in_viewport()


def test_a_cell_shows_picture_figures_and_report(page: Page) -> None:
    page.click("#samples")
    all_done(page)

    page.click(".tile[data-id='5'] a")

    detail = page.locator("#detail")
    expect(detail.locator("h3")).to_have_text("Neutrophil")
    expect(detail.locator(".decision")).to_contain_text("confidence")
    assert detail.locator(".bars tbody tr").count() == 5
    expect(detail.locator(".report-text")).to_contain_text("neutrophil", ignore_case=True)
    expect(detail.locator(".report")).to_contain_text("rule-based")
    expect(detail.locator(".findings")).to_contain_text("ρ = ")
    detail.locator("summary").click()
    expect(detail.locator(".more")).to_contain_text("wbc")
    expect(detail.locator(".more")).to_contain_text("painted")
    expect(page.locator(".device-note")).to_have_count(0)
    expect(detail.locator(".timings")).to_contain_text("preprocess")
    kept(page, "cell")


def test_that_answers_are_suggestions_is_said_once_and_marks_no_single_cell(
    page: Page, cells: list[Path]
) -> None:
    send(page, *cells[:4])
    all_done(page)

    expect(page.locator(".device-note")).to_have_count(1)
    expect(page.locator(".overview .device-note")).to_contain_text("suggestions for a person to decide")
    counts = page.locator(".overview .to-review").all_inner_texts()
    assert sum(map(int, counts)) == 4
    marked = page.locator(".gallery .tile.review").count()
    assert marked < 4
    page.locator(".gallery .tile:not(.review) a").first.click()
    expect(page.locator("#detail .device-note")).to_have_count(1)
    expect(page.locator("#detail .findings")).to_contain_text("No other automatic check fired")
    expect(page.locator("#detail .report-text")).to_contain_text(
        "a suggestion, as the microscope is not verified"
    )


def test_a_profile_that_the_images_look_like_is_offered_once(page: Page, cells: list[Path]) -> None:
    with page.expect_response("**/v1/analyses") as response:
        send(page, cells[0])
    answer = {**response.value.json(), "looks_like": {"raabin": True, "chula": False}}

    def looks_like_raabin(route: Route) -> None:
        if "event-stream" in route.request.headers["accept"]:
            route.continue_()
        else:
            route.fulfill(json=answer)

    page.route("**/v1/analyses", looks_like_raabin)
    send(page, *cells, *cells[:8])
    expect(page.locator(".tile[data-state='done']")).to_have_count(21)
    note = page.locator(".device-note")
    expect(note).to_have_count(1)
    expect(note).to_contain_text(
        "These images look like profile “raabin”: if that is the microscope, choose it under Settings"
    )
    page.locator(".tile a").first.click()
    expect(page.locator("#detail .device-note")).to_contain_text("“raabin”")
    choose(page, language="tr")
    page.go_back()
    expect(note).to_contain_text("Bu görüntüler “raabin” profiline benziyor")
    expect(note).to_have_count(1)


def test_heat_and_image_lie_on_each_other_in_the_images_own_proportions(page: Page, tmp_path: Path) -> None:
    import cv2

    from tests.synthetic_cells import synthetic_cell

    wide = tmp_path / "wide.png"
    cv2.imwrite(str(wide), cv2.copyMakeBorder(synthetic_cell("Neutrophil"), 0, 0, 120, 0, cv2.BORDER_REFLECT))
    send(page, wide)
    all_done(page)
    page.click(".tile a")

    image, heat = (page.locator(f".stage {part}").bounding_box() for part in ("img", "canvas"))

    assert image is not None
    assert image == heat
    assert image["width"] / image["height"] == pytest.approx(480 / 360, rel=0.02)
    size = page.evaluate(
        "(() => { const c = document.querySelector('.stage canvas'); return [c.width, c.height]; })()"
    )
    assert size == [480, 360]


def test_opacity_colours_outlines_and_zoom_change_the_picture(page: Page) -> None:
    page.click("#samples")
    all_done(page)
    page.click(".tile[data-id='1'] a")
    canvas, outlines = page.locator(".stage canvas"), page.locator(".stage svg:has(.outline)")
    pixels = "document.querySelector('.stage canvas').toDataURL()"
    comes_true(page, f"{pixels}.length > 2000")
    before = page.evaluate(pixels)

    page.fill("#opacity", "25")
    expect(canvas).to_have_css("opacity", "0.25")
    page.select_option("#colour-map", "inferno")
    assert page.evaluate(pixels) != before
    expect(outlines).to_be_hidden()
    page.check("#outlines")
    expect(outlines).to_be_visible()
    assert page.locator(".outline.nucleus").count() >= 1
    page.get_by_role("button", name="Zoom in").click()
    assert "scale(1.5)" in (page.locator(".stage").get_attribute("style") or "")
    page.locator(".frame").press("Escape")
    assert "scale(1)" in (page.locator(".stage").get_attribute("style") or "")


def opened_with_heat(page: Page) -> None:
    page.click("#samples")
    all_done(page)
    page.click(".tile[data-id='4'] a")
    comes_true(page, "document.querySelectorAll('.contour').length === 4")


def test_heat_on_the_image_looks_like_its_legend(page: Page) -> None:
    opened_with_heat(page)

    pixels = page.evaluate("""() => {
        const read = (source, width, height) => {
            const context = new OffscreenCanvas(width, height).getContext("2d");
            context.drawImage(source, 0, 0, width, height);
            return [...context.getImageData(0, 0, width, height).data];
        };
        const [image, heat, legend] = [".stage img", ".stage canvas", ".legend-strip"]
            .map((one) => document.querySelector(one));
        const opacity = Number(getComputedStyle(heat).opacity);
        return {opacity, image: read(image, heat.width, heat.height),
            heat: read(heat, heat.width, heat.height), legend: read(legend, legend.width, legend.height)};
    }""")
    image, heat = (np.array(pixels[name], float).reshape(-1, 4) for name in ("image", "heat"))
    legend = np.array(pixels["legend"], float).reshape(2, 256, 4)[:, :, :3]
    cover = heat[:, 3:] / 255 * pixels["opacity"]
    seen = cover * heat[:, :3] + (1 - cover) * image[:, :3]
    is_hot = heat[:, 3] == 255
    on_dark, on_light = legend
    assert on_dark[0].sum() < on_light[0].sum()
    alike = is_hot & (np.abs(image[:, :3] - on_dark[0]).max(axis=1) < 6)
    assert alike.sum() > 5
    apart = np.abs(seen[alike][:, None] - on_dark[None, 80:]).max(axis=2).min(axis=1)
    assert apart.max() < 6


def test_heat_is_beside_the_image_or_while_its_key_is_held_and_has_contours(page: Page) -> None:
    opened_with_heat(page)
    image, canvas = page.locator(".stage img"), page.locator(".stage canvas")
    inner, outer = (page.locator(f".contour.at-{level}").bounding_box() for level in (80, 50))
    assert inner is not None
    assert outer is not None
    assert outer["x"] < inner["x"]
    assert outer["width"] > inner["width"] > 10

    page.locator("#detail").focus()
    page.keyboard.down("h")
    expect(canvas).to_be_hidden()
    page.keyboard.up("h")
    expect(canvas).to_be_visible()
    page.select_option("#heat-where", "held")
    expect(canvas).to_be_hidden()
    page.locator("#detail").focus()
    page.keyboard.down("h")
    expect(canvas).to_be_visible()
    page.keyboard.up("h")
    page.select_option("#heat-where", "beside")
    left, right = image.bounding_box(), canvas.bounding_box()
    assert left is not None
    assert right is not None
    assert right["x"] == pytest.approx(left["x"] + left["width"], abs=1)
    assert (right["width"], right["height"]) == (left["width"], left["height"])
    kept(page, "heat_beside")


def test_the_colours_of_heat_stand_off_from_those_of_the_stain(page: Page) -> None:
    nucleus, red_cell = (90, 40, 130), (222, 165, 170)

    def least(name: str) -> float:
        """Where heat covers as much as it may."""
        table = page.evaluate(f"import('/web/heat.js').then((heat) => [...heat.colours('{name}')])")
        levels = [(table[at], table[at + 1], table[at + 2]) for at in range(3 * 80, 768, 3)]
        return min(ciede2000(level, stain) for level in levels for stain in (nucleus, red_cell))

    assert ciede2000((255, 0, 0), (0, 255, 0)) == pytest.approx(86.61, abs=0.01)
    assert least("green") > 40
    assert least("inferno") < 10


def test_a_zip_brings_its_images_and_passes_over_the_rest(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    archive = tmp_path / "cells.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.write(cells[0], "slide/one.jpg")
        folder.write(cells[1], "slide/two.jpg", zipfile.ZIP_STORED)
        folder.writestr("slide/readme.txt", "no image")
        folder.writestr("__MACOSX/slide/._one.jpg", b"\0")

    send(page, archive)

    all_done(page)
    assert sorted(page.locator(".tile-name").all_text_contents()) == ["one.jpg", "two.jpg"]


def test_a_folder_brings_its_images_alone_and_a_zip_says_what_was_too_large(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "slide" / "deep").mkdir(parents=True)
    (tmp_path / "slide" / "notes.txt").write_text("no image")
    (tmp_path / "slide" / "deep" / "one.jpg").write_bytes(cells[0].read_bytes())
    page.set_input_files("#folder", tmp_path / "slide")
    all_done(page)
    assert page.locator(".tile-name").all_text_contents() == ["one.jpg"]

    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.jpg", b"\xff\xd8\xff" + bytes(11 * 2**20))
    send(page, tmp_path / "large.zip")

    expect(page.get_by_role("alert")).to_contain_text("more than 10 MB: “large.jpg”")


def test_of_a_folder_images_are_taken_by_their_bytes_and_one_that_is_too_large_is_named_and_left_out(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "slide"
    folder.mkdir()
    (folder / "IMG0001").write_bytes(cells[0].read_bytes())
    (folder / "notes.jpg").write_text("no image")
    (folder / "huge.jpg").write_bytes(b"\xff\xd8\xff" + bytes(10 * 2**20))

    page.set_input_files("#folder", folder)

    expect(page.get_by_role("alert")).to_contain_text("more than 10 MB: “huge.jpg”")
    all_done(page)
    assert page.locator(".tile-name").all_text_contents() == ["IMG0001"]


def test_a_broken_zip_is_named(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04" + b"\0" * 40)

    send(page, broken)

    expect(page.get_by_role("alert")).to_contain_text("broken.zip")


def test_an_image_may_be_dropped_anywhere_and_pasted(page: Page, cells: list[Path]) -> None:
    script = """([name, bytes, kind]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}));
        const event = kind === "drop"
            ? new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true});
        document.body.dispatchEvent(event);
    }"""
    for number, kind in enumerate(("drop", "paste")):
        page.evaluate(script, [f"{kind}.jpg", list(cells[number].read_bytes()), kind])
    expect(page.locator(".tile")).to_have_count(2)

    all_done(page)

    assert sorted(page.locator(".tile-name").all_text_contents()) == ["drop.jpg", "paste.jpg"]


def test_what_is_dragged_within_the_page_leaves_it_as_it_is(page: Page, cells: list[Path]) -> None:
    page.goto("/#/settings")
    expect(page.locator("#reset")).to_be_visible()
    script = """([kind, bytes]) => {
        const transfer = new DataTransfer();
        if (bytes) transfer.items.add(new File([new Uint8Array(bytes)], "tile.jpg"));
        else transfer.setData("text/uri-list", location.href);
        const event = new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true});
        document.body.dispatchEvent(event);
    }"""
    page.evaluate(script, ["drop", None])
    page.evaluate(script, ["dragstart", None])
    page.evaluate(script, ["drop", list(cells[0].read_bytes())])
    page.evaluate(script, ["dragend", None])

    page.wait_for_timeout(200)
    assert page.url.endswith("#/settings")
    page.goto("/#/cells")
    expect(page.locator("#cells-title")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(0)


def test_images_leave_the_page_only_after_a_question(page: Page, cells: list[Path]) -> None:
    send(page, cells[0])
    all_done(page)
    page.click("#clear")
    page.click("#clear-no")
    expect(page.locator(".tile")).to_have_count(1)
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.type))

    page.reload()

    assert asked == ["beforeunload"]
    expect(page.locator(".tile")).to_have_count(1)
    page.click("#clear")
    page.click("#clear-yes")
    expect(page.locator(".tile")).to_have_count(0)
    page.reload()
    assert asked == ["beforeunload"]


KEPT_FOR_TABS = """async () => {
    const opened = await new Promise((resolve) => {
        const request = indexedDB.open("wbc-tabs");
        request.onsuccess = () => resolve(request.result);
    });
    const request = opened.transaction("cells").objectStore("cells").getAll();
    await new Promise((resolve) => { request.onsuccess = resolve; });
    opened.close();
    return request.result.map(({id, result}) => (result ? `${id} done` : id)).sort();
}"""


def kept_for_tabs(page: Page, expected: list[str]) -> None:
    comes_true(page, f"({KEPT_FOR_TABS})().then((kept) => String(kept) === '{','.join(expected)}')")


def reloaded(page: Page) -> list[str]:
    """The page, loaded anew; a list of the images that it sends from then on."""
    page.reload()
    sent: list[str] = []
    page.on("request", lambda request: sent.extend([request.url] if "analyses" in request.url else []))
    return sent


def test_a_tab_that_is_loaded_anew_has_its_cells_and_no_other_tab_has_them(
    page: Page, context: BrowserContext, cells: list[Path]
) -> None:
    send(page, *cells[:3])
    all_done(page)
    page.click(".tile[data-id='2'] a")
    expect(page.locator(".report")).to_contain_text("rule-based")
    captions = page.locator(".tile-caption").all_inner_texts()
    kept_for_tabs(page, ["1 done", "2 done", "3 done"])

    sent = reloaded(page)

    expect(page.locator(".tile[data-state='done']")).to_have_count(3)
    assert page.locator(".tile-caption").all_inner_texts() == captions
    comes_true(
        page, "[...document.querySelectorAll('.tile img')].filter((one) => one.naturalWidth).length === 3"
    )
    expect(page.locator("#detail .file-name")).to_have_text(cells[1].name)
    comes_true(page, "document.querySelector('.stage img').naturalWidth === 360")
    comes_true(page, "document.querySelectorAll('.contour').length === 4")
    other = context.new_page()
    other.goto("/")
    expect(other.get_by_text("No images yet")).to_be_visible()
    expect(other.locator(".tile")).to_have_count(0)
    other.close()
    page.wait_for_timeout(200)
    assert sent == []
    send(page, cells[3])
    expect(page.locator(".tile[data-id='4'][data-state='done']")).to_be_visible()
    kept_for_tabs(page, ["1 done", "2 done", "3 done", "4 done"])


def test_what_was_not_analysed_before_the_page_was_loaded_anew_waits_for_a_person(
    page: Page, cells: list[Path]
) -> None:
    page.route("**/v1/analyses", lambda _: None)
    send(page, *cells[:6])
    kept_for_tabs(page, ["1", "2", "3", "4", "5", "6"])

    sent = reloaded(page)

    expect(page.locator(".tile[data-state='cancelled']")).to_have_count(6)
    page.unroute("**/v1/analyses")
    page.wait_for_timeout(200)
    assert sent == []
    page.click("#retry-failed")
    expect(page.locator(".tile[data-state='done']")).to_have_count(6)


def test_samples_keep_their_profile_when_the_page_is_loaded_anew(page: Page) -> None:
    page.route("**/v1/analyses", lambda _: None)
    page.click("#samples")
    kept_for_tabs(page, ["1", "2", "3", "4", "5"])
    reloaded(page)
    page.unroute("**/v1/analyses")
    sent = fields_sent(page)

    page.click("#retry-failed")

    all_done(page)
    assert sent().count(["profile", "painted"]) == 5


@pytest.mark.parametrize("way", ["clear", "forget", "switched off"])
def test_nothing_of_cells_that_were_cleared_or_forgotten_is_kept(
    page: Page, cells: list[Path], way: str
) -> None:
    send(page, *cells[:2])
    all_done(page)
    kept_for_tabs(page, ["1 done", "2 done"])

    if way == "switched off":
        page.goto("/#/settings")
        page.uncheck("#setting-keepHistory")
    else:
        page.goto("/#/history" if way == "forget" else "/#/cells")
        page.click(f"#{way}")
        page.click(f"#{way}-yes")

    kept_for_tabs(page, [])
    page.goto("/#/cells")
    page.reload()
    expect(page.get_by_text("No images yet")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(0)


def test_cells_of_another_day_are_deleted_when_the_page_is_opened(
    page: Page, context: BrowserContext, cells: list[Path]
) -> None:
    send(page, *cells[:2])
    all_done(page)
    kept_for_tabs(page, ["1 done", "2 done"])
    other = context.new_page()
    other.clock.set_fixed_time(datetime.now(UTC) + timedelta(hours=23))
    other.goto("/")
    kept_for_tabs(page, ["1 done", "2 done"])

    other.clock.set_fixed_time(datetime.now(UTC) + timedelta(hours=25))
    other.reload()

    kept_for_tabs(page, [])
    other.close()


def test_a_browser_that_refuses_to_keep_anything_works_and_says_nothing(
    page: Page, context: BrowserContext, cells: list[Path]
) -> None:
    context.add_init_script("Object.defineProperty(window, 'indexedDB', {value: undefined});")
    page.reload()
    send(page, *cells[:2])
    all_done(page)
    expect(page.locator(".tile[data-state='done']")).to_have_count(2)
    expect(page.get_by_role("alert")).to_have_count(0)

    page.reload()

    expect(page.locator("#clear")).to_be_hidden()
    expect(page.locator(".tile")).to_have_count(0)


def test_the_images_here_become_an_order_and_samples_are_never_among_them(
    page: Page, cells: list[Path]
) -> None:
    page.click("#samples")
    send(page, *cells[:3])
    all_done(page)
    expect(page.locator("#order-these")).to_have_text("Request a differential of these 3 images")

    page.click("#order-these")

    expect(page.locator("#order")).to_have_text("Analyse 3 images")
    expect(page.locator("#samples")).to_be_hidden()
    page.click("#none-of-these")
    page.click("#samples")
    expect(page.locator("#order")).to_have_text("Analyse 5 images")
    page.set_input_files("#files", [str(path) for path in cells[:2]])
    expect(page.locator("#order")).to_have_text("Analyse 2 images")


def test_a_file_that_is_no_image_says_why_and_the_others_go_on(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not an image")

    send(page, text, cells[0])

    expect(page.locator("#retry-failed")).to_be_visible()
    page.click(".group[data-group='not analysed'] .tile a")
    expect(page.locator("#detail")).to_contain_text("not a JPEG")
    expect(page.locator(".tile[data-state='done']")).to_have_count(1)


def test_waiting_images_may_be_cancelled_and_tried_again(page: Page, cells: list[Path]) -> None:
    page.route("**/v1/analyses", lambda _: None)  # no answer: what is running stays so
    send(page, *cells)
    expect(page.locator(".tile[data-state='running']")).to_have_count(4)

    page.click("#cancel-all")

    expect(page.locator(".tile[data-state='cancelled']")).to_have_count(len(cells))
    page.unroute("**/v1/analyses")
    page.click(".tile[data-id='1'] button")
    expect(page.locator(".tile[data-state='done']")).to_have_count(1)


def test_a_button_stays_the_same_while_the_queue_goes_on(page: Page, cells: list[Path]) -> None:
    """One that is made anew under a pressed finger hears no click."""
    begun: list[Route] = []

    def first_ones_only(route: Route) -> None:
        begun.append(route)
        if len(begun) <= 3:
            route.continue_()

    page.route("**/v1/analyses", first_ones_only)
    send(page, *cells)
    button = page.locator("#cancel-all").element_handle()
    expect(page.locator(".tile[data-state='done']")).to_have_count(3)

    assert button.evaluate("(button) => button.isConnected")

    page.click("#cancel-all")
    expect(page.locator(".tile[data-state='cancelled']")).to_have_count(len(cells) - 3)


def test_before_a_cell_is_chosen_the_classes_are_counted(page: Page) -> None:
    page.click("#samples")
    all_done(page)

    assert page.locator(".overview .count").all_inner_texts() == ["1"] * 5
    expect(page.locator(".overview")).to_contain_text("no differential")


def test_a_busy_service_is_asked_again_when_it_says(page: Page, cells: list[Path]) -> None:
    refused: list[object] = []

    def busy_at_first(route: Route) -> None:
        if len(refused) >= 3:
            route.continue_()
            return
        refused.append(route.request)
        route.fulfill(
            status=503,
            headers={"Retry-After": "2", "Content-Type": "application/problem+json"},
            body='{"title": "Overloaded", "status": 503}',
        )

    page.route("**/v1/analyses", busy_at_first)
    send(page, *cells[:3])

    expect(page.locator(".busy")).to_contain_text("busy")

    all_done(page)
    expect(page.locator(".tile[data-state='done']")).to_have_count(3)


def test_images_wait_for_a_service_that_cannot_be_reached(page: Page, cells: list[Path]) -> None:
    page.route("**/v1/analyses", lambda route: route.abort())

    send(page, cells[0])

    expect(page.locator(".busy")).to_contain_text("cannot be reached. It is asked again in")
    page.unroute("**/v1/analyses")
    all_done(page)


def test_a_service_that_is_gone_or_not_ready_is_told(page: Page) -> None:
    page.route("**/readyz", lambda route: route.fulfill(status=503, body="{}"))
    page.reload()
    expect(page.locator("#service")).to_contain_text("not ready")

    page.unroute("**/readyz")
    page.route("**/readyz", lambda route: route.abort())
    page.reload()
    expect(page.locator("#service")).to_contain_text("cannot be reached")


def test_the_page_says_where_figures_go_and_the_setting_keeps_them_at_home(page: Page) -> None:
    def with_remote_writer(route: Route) -> None:
        model = route.fetch().json()
        remote = {"name": "openai", "model": "m-1", "leaves": True, "sends_to": "models.example"}
        route.fulfill(json={**model, "report_writers": [remote, *model["report_writers"]]})

    page.route("**/v1/model", with_remote_writer)
    page.reload()
    where = page.locator("#where-data-goes")
    expect(where).to_contain_text("openai (models.example)")

    choose(page, writer="rule-based")
    expect(where).to_contain_text("no further")
    expect(where).not_to_contain_text("openai")
    page.goto("/#/cells")
    page.click("#samples")
    all_done(page)
    sent = fields_sent(page)
    page.click(".tile[data-id='1'] a")
    expect(page.locator(".report")).to_contain_text("rule-based")
    assert ["writer", "rule-based"] in sent()

    choose(page, writer="none")
    expect(where).to_contain_text("No reports are written")
    page.goto("/#/cells/2")
    expect(page.locator(".report-text")).to_have_text("No report was asked for.")


def test_profile_and_views_are_asked_for_as_chosen(page: Page, cells: list[Path]) -> None:
    choose(page, tta="none", profile="default")
    page.goto("/#/cells")

    sent = fields_sent(page)
    send(page, cells[0])
    all_done(page)

    assert [pair for pair in sent() if pair[0] in ("tta", "profile")] == [
        ["profile", "default"],
        ["tta", "none"],
    ]
    page.click(".tile a")
    page.locator(".more summary").click()
    expect(page.locator(".more")).to_contain_text(re.compile(r"Views averaged\s*1"))


def test_no_file_name_leaves_the_browser(page: Page, cells: list[Path], tmp_path: Path) -> None:
    named = tmp_path / "Yilmaz_Ayse_1984.jpg"
    named.write_bytes(cells[0].read_bytes())
    sent = fields_sent(page)

    send(page, named)
    all_done(page)

    assert ["file", "cell"] in sent()
    assert "Yilmaz" not in str(sent())


def test_a_page_that_is_opened_again_remembers_what_was_seen(page: Page) -> None:
    page.click("#samples")
    all_done(page)
    page.click("nav a[data-view='history']")
    expect(page.locator("#view-history .tile")).to_have_count(5)
    link = page.locator("#view-history .tile a").first.get_attribute("href")

    page.goto("/")
    page.goto(f"/{link}")

    expect(page.locator("#view-history .detail h3")).to_be_visible()
    page.click("#forget")
    page.click("#forget-no")
    expect(page.locator("#view-history .tile")).to_have_count(5)
    page.click("#forget")
    page.click("#forget-yes")
    expect(page.locator("#view-history .tile")).to_have_count(0)


def test_the_history_knows_of_cells_that_are_just_being_kept_and_forgets_them_too(page: Page) -> None:
    page.evaluate("""() => {
        const decode = window.createImageBitmap;
        window.createImageBitmap = async (file) => {
            await new Promise((go_on) => setTimeout(go_on, 1000));
            return decode(file);
        };
    }""")
    page.click("#samples")
    all_done(page)

    page.click("nav a[data-view='history']")

    expect(page.locator("#view-history .tile")).to_have_count(5)
    page.click("nav a[data-view='cells']")
    answered: list[str] = []

    def is_the_last(response: Response) -> bool:
        answered.extend([response.url] if response.url.endswith("/v1/analyses") else [])
        return len(answered) == 5

    with page.expect_response(is_the_last):
        page.click("#samples")
        page.click("nav a[data-view='history']")
    page.click("#forget")
    page.click("#forget-yes")
    page.wait_for_timeout(2000)  # longer than it takes to keep a cell: none may come back
    page.reload()
    expect(page.get_by_text("Nothing yet")).to_be_visible()


def test_three_hundred_images_do_not_freeze_the_page(page: Page, cells: list[Path]) -> None:
    payload = io.BytesIO()
    with zipfile.ZipFile(payload, "w") as folder:
        for number in range(300):
            folder.writestr(f"{number:03}.jpg", cells[number % len(cells)].read_bytes())
    # The service's time is not the question here, and 300 analyses take half a minute: one answer for all.
    page.click("#samples")
    all_done(page)
    with page.expect_response("**/v1/analyses") as response:
        send(page, cells[0])
    answer = response.value.text()
    all_done(page)
    page.route("**/v1/analyses", lambda route: route.fulfill(body=answer, content_type="application/json"))
    page.evaluate("""() => {
        window.most = 0;
        const tilesIn = (changes) => changes.flatMap(({addedNodes}) => [...addedNodes])
            .filter(({classList}) => classList?.contains("tile"));
        // Told once after each task.
        new MutationObserver((changes) => { window.most = Math.max(window.most, tilesIn(changes).length); })
            .observe(document.getElementById("gallery"), {childList: true, subtree: true});
        window.pressed = 0;
        document.addEventListener("keydown", () => { window.pressed += 1; });
    }""")

    page.set_input_files(
        "#files", {"name": "many.zip", "mimeType": "application/zip", "buffer": payload.getvalue()}
    )
    done = page.locator(".tile[data-state='done']")
    pressed = 0
    while done.count() < 306:
        page.keyboard.press("Shift")
        pressed += 1

    kept(page, "three_hundred")
    assert page.evaluate("window.pressed") == pressed > 1
    # A press waits for one task at most: no clock is asked, which others on the machine slow down too.
    assert 1 <= page.evaluate("window.most") <= 60

"""One specimen from the order to the signature, by mouse and by keyboard."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from orchestrator.cell_features import MIN_CELLS, OFFERED_SHARE, Likeness, resembled
from orchestrator.domain import DISCLAIMER
from orchestrator.store.encryption import new_key
from tests.e2e.page.conftest import (
    LOOKS,
    PATIENCE_MS,
    WAIT_MS,
    analysed,
    choose,
    comes_true,
    kept,
    order,
    tab_to,
    unheard,
    violations,
)
from tests.running_service import PROJECT_ROOT, RunningService, running_service

CURRENT_IS_SEEN = (
    "(JSON.parse(localStorage['wbc.seen'] ?? '[]').at(-1)?.[1] ?? [])"
    ".includes(Number(location.hash.split('/').at(-1)))"
)
"""That the page counts the cell on the screen as looked at."""


def counted(page: Page) -> dict[str, int]:
    """The column of counts by label."""
    rows = page.locator("#counts tbody tr")
    return {
        rows.nth(row).get_attribute("data-label") or "": int(rows.nth(row).locator("td").first.inner_text())
        for row in range(rows.count())
    }


@pytest.fixture
def hundred(cells: list[Path]) -> list[Path]:
    """102 cells; three are the sample of the page that goes to review."""
    doubtful = PROJECT_ROOT / "orchestrator" / "edge" / "web" / "static" / "samples" / "lymphocyte.jpg"
    return [cells[number % len(cells)] for number in range(99)] + [doubtful] * 3


def test_a_specimen_is_ordered_counted_reviewed_by_keyboard_signed_and_exported(
    page: Page, hundred: list[Path]
) -> None:
    order(page, hundred, "S-17", "6.2")
    before = counted(page)
    assert sum(before.values()) == 102
    expect(page.locator("#counts")).to_contain_text("10⁹/L")
    title = page.locator("#review-title")
    waiting = int(re.findall(r"\d+", title.text_content() or "")[0])
    assert waiting >= 3
    page.locator("#view-specimen h2").click()

    # Whatever comes first is a basophil now; then it is not any more.
    first = page.locator(".review-list a[aria-current]").get_attribute("aria-label")
    page.keyboard.press("1")
    expect(title).to_have_text(f"To review ({waiting - 1})")
    basophils = page.locator("#counts tr[data-label='Basophil'] td").first
    expect(basophils).to_have_text(str(before["Basophil"] + 1))
    page.keyboard.press("u")
    expect(title).to_have_text(f"To review ({waiting})")
    expect(basophils).to_have_text(str(before["Basophil"]))
    assert counted(page) == before
    assert page.locator(".review-list a[aria-current]").get_attribute("aria-label") == first
    expect(page.locator("#review-detail .legend")).to_be_visible()
    expect(page.locator(".report-text")).not_to_be_empty()
    kept(page, "specimen_review")
    for left in range(waiting - 1, -1, -1):
        page.keyboard.press("Enter")
        expect(title).to_have_text(f"To review ({left})" if left else "Nothing waits for review.")
    page.keyboard.press("s")
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("Signed by local", timeout=WAIT_MS)
    expect(page.locator("#sign")).to_be_hidden()
    expect(page.locator("#accept")).to_have_count(0)
    kept(page, "specimen_signed")

    for kind, ending in (("csv", "csv"), ("cells", "csv"), ("json", "json"), ("fhir", "fhir.json")):
        with page.expect_download() as download:
            page.click(f"a[data-export='{kind}']")
        assert download.value.suggested_filename.endswith(f".{ending}")
        text = Path(download.value.path()).read_text(encoding="utf-8")
        assert DISCLAIMER in text
        if kind in ("json", "fhir"):
            assert json.loads(text)

    page.emulate_media(media="print")
    expect(page.locator(".decisions tbody tr")).to_have_count(waiting)
    for shown in (".decisions", ".disclaimer", ".chart", "#signed"):
        expect(page.locator(shown)).to_be_visible()
    for hidden in ("nav", "#review-detail", "#specimen-gallery", "#print"):
        expect(page.locator(hidden)).to_be_hidden()
    kept(page, "specimen_print")


@pytest.mark.parametrize(
    ("profile", "says"), [("", "unknown to the service"), ("motic-tecom", "no passed audit")]
)
def test_on_an_unverified_microscope_all_wait_the_least_confident_first_and_it_is_said_once(
    page: Page, cells: list[Path], profile: str, says: str
) -> None:
    order(page, cells[:5], "S-31", profile=profile)

    expect(page.locator(".review-list .tile")).to_have_count(5)
    expect(page.locator(".device-note")).to_have_count(1)
    expect(page.locator("#device .device-note")).to_contain_text(says)
    expect(page.locator("#device .device-note")).to_contain_text("wbc audit-device")
    with page.expect_download() as download:
        page.click("a[data-export='json']")
    document = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    result_of = {cell["id"]: cell["result"] for cell in document["cells"]}
    assert all("device_unknown" in result["review_codes"] for result in result_of.values())
    confidences = [result_of[cell]["confidence"] for cell in document["review_list"]]
    assert confidences == sorted(confidences)
    for cell in document["cells"]:
        page.locator(f".review-list .tile[data-cell='{cell['id']}'] a").click()
        expect(page.locator("#cell-head")).to_contain_text(f"Cell {cell['number']} ")
        expect(page.locator("#review-detail .legend")).to_be_visible()
        expect(page.locator("#review-detail .findings")).not_to_contain_text("microscope")
    expect(page.locator("#sheet .reasons")).not_to_contain_text("microscope")
    choose(page, language="tr")
    page.go_back()
    expect(page.locator("#device .device-note")).to_contain_text("mikrosko")


def test_cells_unlike_their_profiles_are_said_once_with_the_profile_that_they_look_like(
    page: Page, cells: list[Path]
) -> None:
    alike = {"raabin": False, "chula": False}

    def told(route: Route) -> None:
        document = route.fetch().json()
        for cell in document["cells"]:
            cell["result"] |= {"profile": "raabin", "looks_like": alike}
        route.fulfill(json=document)

    choose(page, tta="none")  # sooner done
    order(page, [*cells, *cells[:8]], "S-33", profile="")
    page.route(re.compile(r"/v1/differentials/[\w-]+$"), told)
    unheard(page)
    page.reload()
    note = page.locator(".device-note")
    expect(note).to_contain_text("do not look like those of profile “raabin”")
    expect(note).to_contain_text("wbc audit-device")
    alike["chula"] = True
    page.reload()
    expect(note).to_contain_text("These images look like profile “chula”")
    expect(note).to_have_count(1)
    choose(page, language="tr")
    page.go_back()
    expect(note).to_contain_text("“raabin” profilinin görüntülerine benzemiyor")
    expect(note).to_contain_text("“chula” profiline benziyor")
    expect(note).to_have_count(1)


def test_on_a_known_microscope_the_page_says_nothing_of_it(page: Page, cells: list[Path]) -> None:
    order(page, cells[:3], "S-32", profile="raabin")

    expect(page.locator("#sheet .reasons")).to_be_visible()
    expect(page.locator(".device-note")).to_have_count(0)


def test_a_profile_is_offered_from_as_many_cells_as_the_service_offers_one(page: Page) -> None:
    def offered(cells: list[Likeness]) -> str | None:
        found = page.evaluate(
            "(cells) => import('/web/device.js').then((device) => device.resembled(cells))", cells
        )
        assert found == resembled(cells)
        return None if found is None else str(found)

    assert offered([{"raabin": True}] * MIN_CELLS) == "raabin"
    assert offered([{"raabin": True}] * (MIN_CELLS - 1)) is None
    assert offered([{"raabin": True, "chula": True}] * MIN_CELLS) == "chula"
    right = round(100 * OFFERED_SHARE)
    assert offered([{"a": at < right, "b": at <= right} for at in range(100)]) == "b"
    assert offered([{"a": at < right - 1} for at in range(100)]) is None


@pytest.mark.parametrize(("locale", "separators"), [("tr-TR", (";", ",")), ("en-GB", (",", "."))])
def test_tables_are_exported_as_the_readers_spreadsheet_writes_numbers(
    browser: Browser, service: RunningService, cells: list[Path], locale: str, separators: tuple[str, str]
) -> None:
    context = browser.new_context(base_url=service.url, locale=locale, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    order(page, cells[:2], f"S-{locale}", "6.25")

    for kind in ("csv", "cells"):
        with page.expect_download() as download:
            page.click(f"a[data-export='{kind}']")
        text = Path(download.value.path()).read_text(encoding="utf-8-sig")
        between, decimal = separators
        header, *rows = csv.reader(text.splitlines(), delimiter=between)
        assert len(header) > 5
        figures = [value for row in rows for value in row if re.fullmatch(r"\d+[.,]\d+", value)]
        assert figures
        assert [value for value in figures if decimal not in value] == []
    context.close()


def test_a_reclassified_cell_counts_as_what_the_person_said(page: Page, cells: list[Path]) -> None:
    order(page, cells, "S-18")
    before = counted(page)
    page.locator(".group[data-group='Neutrophil'] .tile a").first.click()
    expect(page.locator("#review-detail")).to_be_focused()

    page.click("#as-Monocyte")

    expect(page.locator("#counts tr[data-label='Monocyte'] td").first).to_have_text(
        str(before["Monocyte"] + 1)
    )
    assert counted(page)["Neutrophil"] == before["Neutrophil"] - 1
    expect(page.locator("#said")).to_have_text("Monocyte (was Neutrophil)")
    page.click("#undo")
    expect(page.locator("#counts tr[data-label='Monocyte'] td").first).to_have_text(str(before["Monocyte"]))
    page.get_by_text("Audit trail", exact=True).click()
    expect(page.locator(".trail")).to_contain_text("local · decided · Cell")
    expect(page.locator(".trail")).to_contain_text("Monocyte")


def test_the_keys_are_those_of_the_settings_and_none_does_two_things(page: Page, cells: list[Path]) -> None:
    page.goto("/#/settings")
    page.focus("#key-accept")
    page.keyboard.press("j")
    expect(page.locator("#key-problem")).to_contain_text("j")
    expect(page.locator("#key-accept")).to_have_value("Enter")
    page.keyboard.press("a")
    expect(page.locator("#key-problem")).to_be_empty()
    page.focus("#key-label-5")
    page.keyboard.press("q")
    order(page, cells[:3], "S-22")
    page.locator("#view-specimen h2").click()

    expect(page.locator("#cell-head")).to_contain_text("1 of 1 to review")  # or the key is another cell's
    page.keyboard.press("q")
    expect(page.locator("#counts tr[data-label='Unidentified'] td").first).to_have_text("1")
    expect(page.locator("#cell-head")).not_to_contain_text("to review")
    page.keyboard.press("a")
    expect(page.locator("#counts tr[data-label='Unidentified'] td").first).to_have_text("0")
    page.reload()
    expect(page.locator(".keys-help")).to_contain_text("a Accept")


def test_a_specimen_is_closed_by_keyboard_alone(page: Page) -> None:
    page.goto("/#/specimen")
    tab_to(page, "#specimen-id")
    page.keyboard.type("S-23")
    tab_to(page, "#samples")
    page.keyboard.press("Enter")
    expect(page.locator("#order")).to_be_enabled()
    tab_to(page, "#order")
    page.keyboard.press("Enter")
    analysed(page)
    expect(page.locator("#review-title")).to_have_text("Nothing waits for review.")
    expect(page.locator("#cell-head")).to_have_text("Cell 1")
    page.keyboard.press("j")
    expect(page.locator("#cell-head")).to_have_text("Cell 2")
    page.keyboard.press("k")
    expect(page.locator("#cell-head")).to_have_text("Cell 1")
    tab_to(page, "#as-Lymphocyte")
    page.keyboard.press("Enter")
    expect(page.locator("#counts tr[data-label='Lymphocyte'] td").first).to_have_text("2")
    tab_to(page, "#sign")
    page.keyboard.press("Enter")
    expect(page.locator("#sign-no")).to_be_focused()
    tab_to(page, "#sign-yes")
    page.keyboard.press("Enter")

    expect(page.locator("#signed")).to_contain_text("Signed by local")


def test_an_image_that_failed_says_why_and_a_person_may_say_what_it_is(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_text("not an image")
    order(page, [*cells[:2], broken], "S-24")
    expect(page.locator("#specimen-progress")).to_contain_text("1 failed")

    page.locator(".group[data-group='none'] .tile a").click()
    expect(page.locator("#review-detail .problem:not([role])")).to_contain_text("not a JPEG")
    page.click("#as-Eosinophil")

    expect(page.locator(".group[data-group='Eosinophil'] .tile")).to_have_count(2)
    expect(page.locator("#specimen-progress")).to_contain_text("3 of 3")


def test_an_order_waits_for_a_busy_service_and_progress_outlives_a_lost_connection(
    page: Page, cells: list[Path]
) -> None:
    asked: list[str] = []

    def busy_once(route: Route) -> None:
        if asked or route.request.method != "POST":
            route.continue_()
            return
        asked.append(route.request.headers["idempotency-key"])
        route.fulfill(status=503, headers={"Retry-After": "3"}, json={"title": "Overloaded", "status": 503})

    def lost_once(route: Route) -> None:
        page.unroute("**/events")
        route.abort()

    page.route("**/v1/differentials", busy_once)
    page.route("**/events", lost_once)
    page.goto("/#/specimen")
    page.fill("#specimen-id", "S-25")
    page.set_input_files("#files", [str(path) for path in cells])
    with page.expect_request(lambda request: bool(asked) and request.method == "POST") as again:
        page.click("#order:enabled")
        expect(page.get_by_text(re.compile(r"asked again in \d second"))).to_be_visible()

    assert again.value.headers["idempotency-key"] == asked[0]
    expect(page.locator("#view-specimen .problem[role='alert']").first).to_contain_text("cannot be reached")
    analysed(page)
    expect(page.locator("#view-specimen .problem[role='alert']").first).to_be_empty()


def test_too_few_cells_give_counts_and_no_percentages(page: Page, cells: list[Path]) -> None:
    order(page, cells, "S-19")

    assert sum(counted(page).values()) == len(cells)
    expect(page.locator("#counts tbody tr").first).to_contain_text("–")
    expect(page.locator("#view-specimen")).to_contain_text("Fewer than 100 cells")


def test_a_specimens_address_opens_it_and_its_cell_again_and_the_worklist_has_it(
    page: Page, cells: list[Path]
) -> None:
    order(page, cells[:6], "S-20")
    page.locator("#specimen-gallery .tile a").nth(2).click()
    page.wait_for_url(re.compile(r"#/specimen/[^/]+/\d+$"))
    head = page.locator("#cell-head").inner_text()
    address = page.url

    page.goto("/#/specimen")
    expect(page.locator("#stored")).to_contain_text("S-20")
    page.goto("/")
    page.goto(address)
    page.reload()

    expect(page.locator("#view-specimen h2")).to_contain_text("S-20")
    expect(page.locator("#cell-head")).to_have_text(head)
    assert sum(counted(page).values()) == 6
    page.goto("/#/specimen/none-of-this-name")
    expect(page.get_by_role("alert")).to_contain_text("no such specimen")


def test_without_its_picture_a_cell_is_not_decided_until_the_images_are_chosen_again(
    page: Page, cells: list[Path], tmp_path: Path
) -> None:
    order(page, cells[:4], "S-26", profile="")
    page.click("#sign")
    # That of the review, and that which was shown while the analysis went on.
    expect(page.locator("#sign-seen")).to_contain_text(re.compile("^[12] of 4 cells"))
    page.click("#sign-no")
    page.reload()
    expect(page.locator("#picture-note")).to_contain_text("Choose the images again")
    expect(page.locator("#accept")).to_be_disabled()
    page.locator("#view-specimen h2").click()
    page.keyboard.press("1")
    expect(page.locator(".review-list .tile")).to_have_count(4)
    expect(page.locator("#pending")).to_be_empty()
    renamed = [tmp_path / f"{4 - number}.png" for number in range(4)]
    for path, cell in zip(renamed, cells, strict=False):
        path.write_bytes(cell.read_bytes())

    page.set_input_files("#images-again", [str(path) for path in [*sorted(renamed), cells[5]]])

    expect(page.locator("#accept")).to_be_enabled()
    expect(page.get_by_text("4 images of 4 cells are here again")).to_be_visible()
    expect(page.locator(".review-list .tile img")).to_have_count(4)
    for left in (3, 2, 1, 0):
        comes_true(page, CURRENT_IS_SEEN)
        page.keyboard.press("Enter")
        expect(page.locator(".review-list .tile")).to_have_count(left)
    page.click("#sign")
    expect(page.locator("#sign-seen")).to_contain_text("4 of 4 cells")
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("4 of 4 cells were looked at")


def test_an_image_that_comes_late_counts_for_no_cell_but_its_own(page: Page, cells: list[Path]) -> None:
    held: dict[str, list[Route]] = {}
    page.add_init_script("let made = 0; URL.createObjectURL = () => `${location.origin}/late/${made++}`;")
    page.route("**/late/*", lambda route: held.setdefault(route.request.url, []).append(route))
    page.reload()
    order(page, cells[:2], "S-late", profile="")
    frame = "document.querySelector('#review-detail .frame img')"
    page.keyboard.press("j")
    page.keyboard.press("k")
    late = page.evaluate(f"{frame}.src")
    page.evaluate(f"{frame}.addEventListener('load', () => {{ document.body.dataset.came = ''; }})")
    page.keyboard.press("j")
    assert page.evaluate(f"{frame}.src") != late

    for route in held[late]:
        route.fulfill(path=cells[0])

    comes_true(page, "'came' in document.body.dataset")
    assert page.evaluate("localStorage['wbc.seen']") is None
    page.unroute("**/late/*")
    page.route("**/late/*", lambda route: route.fulfill(path=cells[0]))
    page.keyboard.press("k")
    comes_true(page, CURRENT_IS_SEEN)
    page.click("#sign")
    expect(page.locator("#sign-seen")).to_contain_text("1 of 2 cells")


def test_a_cell_opened_from_the_gallery_is_shown_where_the_reader_is(page: Page, cells: list[Path]) -> None:
    choose(page, tta="none")  # sooner done
    order(page, [*cells, *cells[:8]], "S-27")
    page.set_viewport_size({"width": 1024, "height": 500})
    # What comes above it later would move what is measured.
    expect(page.locator("#review-detail .legend")).to_be_visible()
    expect(page.locator(".report")).to_have_attribute("aria-busy", "false")
    page.locator("#specimen-gallery").scroll_into_view_if_needed()
    tile = page.locator("#specimen-gallery .tile a").first
    tile.scroll_into_view_if_needed()

    def place() -> float:
        return float(tile.evaluate("(tile) => tile.getBoundingClientRect().top"))

    before = place()
    assert page.evaluate("scrollY") > 400

    tile.click()

    expect(page.locator("#review-detail .frame")).to_be_in_viewport()
    expect(page.locator("#as-Monocyte")).to_be_visible()
    assert place() == pytest.approx(before, abs=2)
    page.keyboard.press("j")
    assert place() == pytest.approx(before, abs=2)
    kept(page, "specimen_docked")
    page.keyboard.press("Escape")
    expect(page.locator(".docked")).to_have_count(0)
    assert place() == pytest.approx(before, abs=2)


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768), (390, 844)])
def test_picture_buttons_and_reasons_are_on_the_first_screen(
    page: Page, cells: list[Path], width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    order(page, cells[:3], f"S-{width}", profile="")
    expect(page.locator("#review-detail .legend")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")

    frame = page.locator("#review-detail .frame").bounding_box()
    assert frame is not None
    on_screen = ["#review-detail .frame", "#accept", "#as-Unidentified"]
    if width > 390:
        assert frame["height"] >= height / 2
        on_screen += [".findings .bars", ".findings > :first-child"]
    for selector in on_screen:
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert box["y"] >= 0, selector
        assert box["y"] + box["height"] <= height, selector
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for language, theme in LOOKS:
        page.evaluate(
            "(look) => import('/web/settings.js').then(({settings}) => settings.change(look))",
            {"language": language, "theme": theme},
        )
        expect(page.locator("#review-detail .legend")).to_be_visible()
        kept(page, f"review_{width}_{language}_{theme}")


def test_axe_finds_nothing_in_a_specimen_in_either_language_and_theme(page: Page, cells: list[Path]) -> None:
    order(page, cells[:5], "S-21")
    page.locator("#specimen-gallery .tile a").first.click()
    page.wait_for_url(re.compile(r"#/specimen/[^/]+/\d+$"))
    address = page.url
    for language, theme in LOOKS:
        choose(page, theme=theme, language=language)
        page.goto(address)
        expect(page.locator("#review-detail .legend")).to_be_visible()
        expect(page.locator(".report")).to_have_attribute("aria-busy", "false")
        statement = "5 cells are counted" if language == "en" else "5 hücre sayıldı"
        expect(page.locator("#sheet .reasons")).to_contain_text(statement)
        assert violations(page) == [], (language, theme)
        kept(page, f"specimen_analysed_{language}_{theme}")
        page.click("#sign")
        assert violations(page) == [], (language, theme)
        page.click("#sign-no")


@pytest.fixture
def storeless(browser: Browser) -> Iterator[Page]:
    with running_service() as service:
        context = browser.new_context(base_url=service.url)
        yield context.new_page()
        context.close()


def test_without_a_store_the_page_says_how_to_have_one(storeless: Page, cells: list[Path]) -> None:
    storeless.goto("/#/specimen")
    storeless.fill("#specimen-id", "S-1")
    storeless.set_input_files("#files", str(cells[0]))

    storeless.click("#order:enabled")

    expect(storeless.get_by_role("alert").last).to_contain_text("WBC_STORE__URL")
    expect(storeless.locator("#worklist")).to_contain_text("WBC_STORE__URL")


def test_a_colleague_reviews_in_another_browser_by_pictures_that_the_service_keeps_until_the_signature(
    browser: Browser, cells: list[Path], tmp_path: Path
) -> None:
    environment = {
        "WBC_STORE__URL": f"sqlite:///{tmp_path}/wbc.db",
        "WBC_STORE__ENCRYPTION_KEY": new_key(),
    }
    with running_service(environment=environment) as service:
        first, second = (browser.new_context(base_url=service.url, locale="en-GB") for _ in range(2))
        page, colleague = first.new_page(), second.new_page()
        order(page, cells[:3], "S-kept", profile="")

        colleague.goto(page.url)

        for left in (2, 1, 0):
            expect(colleague.locator("#accept")).to_be_enabled()
            comes_true(colleague, CURRENT_IS_SEEN)
            colleague.keyboard.press("Enter")
            expect(colleague.locator(".review-list .tile")).to_have_count(left)
        image = colleague.evaluate(
            """async () => {
                const id = location.hash.split("/")[2];
                const {cells} = await (await fetch(`v1/differentials/${id}`)).json();
                return `v1/differentials/${id}/cells/${cells[0].id}/image`;
            }"""
        )
        status = f"async () => (await fetch('{image}')).status"
        assert colleague.evaluate(status) == 200
        colleague.click("#sign")
        expect(colleague.locator("#sign-seen")).to_contain_text("3 of 3 cells")
        colleague.click("#sign-yes")
        expect(colleague.locator("#view-specimen")).to_contain_text("Signed by")
        assert colleague.evaluate(status) == 404
        first.close()
        second.close()


@pytest.fixture
def guarded(browser: Browser, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """The page of a service that asks for keys, and a key."""
    keys = tmp_path / "keys.json"
    environment = {
        "WBC_SECURITY__API_KEYS_FILE": str(keys),
        "WBC_STORE__URL": f"sqlite:///{tmp_path}/wbc.db",
        "WBC_STORE__ENCRYPTION_KEY": new_key(),
    }
    command = [
        sys.executable,
        "-c",
        "from orchestrator.commands.cli import main; main()",
        "keys",
        "create",
        "lab",
    ]
    for role in ("analyse", "review", "sign", "admin"):
        command += ["--role", role]
    made = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (key,) = re.findall(r"wbc_\w+_[\w-]+", made.stdout)
    with running_service(environment=environment) as service:
        context = browser.new_context(base_url=service.url, accept_downloads=True)
        yield context.new_page(), key
        context.close()


def test_where_the_service_asks_for_a_key_the_page_takes_one_and_signs_by_its_name(
    guarded: tuple[Page, str], cells: list[Path]
) -> None:
    page, key = guarded
    page.goto("/#/settings")
    page.fill("#api-key", "wbc_wrong_key")
    page.locator("#api-key").blur()
    page.goto("/#/cells")
    page.set_input_files("#files", str(cells[0]))
    expect(page.locator("#retry-failed")).to_be_visible()
    page.click(".tile a")
    expect(page.locator("#detail")).to_contain_text("key under Settings")

    page.goto("/#/settings")
    page.fill("#api-key", key)
    page.locator("#api-key").blur()
    order(page, cells, "S-30")
    address = page.url
    page.goto("/#/cells")
    page.goto(address)
    page.reload()
    page.click("#sign")
    page.click("#sign-yes")

    expect(page.locator("#view-specimen")).to_contain_text("Signed by key:lab")
    expect(page.locator("#review-detail .frame")).to_be_visible()
    with page.expect_download() as download:
        page.click("a[data-export='json']")
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["state"] == "signed"

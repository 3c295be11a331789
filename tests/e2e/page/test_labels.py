"""What a person may call a cell beside the model's classes."""

from pathlib import Path

from playwright.sync_api import Page, Route, expect

from tests.e2e.page.conftest import choose, violations
from tests.e2e.page.test_decisions import kept_document, said, waiting


def test_more_words_are_said_by_key_and_by_button_and_the_sheet_tells_what_they_are_a_share_of(
    page: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:6], "L-words")
    expect(page.locator("#accept")).to_be_enabled()
    page.keyboard.press("6")
    expect(page.locator(f".tile[data-cell='{ids[1]}'] a")).to_have_attribute("aria-current", "true")
    page.locator("#review-detail .more-labels summary").click()
    expect(page.locator("#as-Giant-platelet")).to_be_visible()
    assert violations(page) == []
    page.click("#as-Giant-platelet")
    page.keyboard.press("w")

    assert said(kept_document(page)) == {
        ids[0]: "Band", ids[1]: "Giant platelet", ids[2]: "Nucleated red cell",
    }  # fmt: skip
    counts = page.locator("#counts")
    expect(counts.locator("tr[data-label='Band'] th")).to_contain_text("of which Band")
    expect(counts.locator("tr[data-label='Nucleated red cell'] th")).to_contain_text("per 100 white cells")
    expect(counts.locator("tr[data-label='Giant platelet'] td").nth(1)).to_have_text("–")
    expect(counts.locator("tr[data-label='Neutrophil'] td").first).not_to_have_text("0")
    expect(page.locator(".reasons", has_text="Outside of the 100 %")).to_be_visible()

    page.keyboard.press("g")
    expect(page.locator("#gallery .group[data-group='Band'] .tile")).to_have_count(1)
    expect(page.locator("#gallery .group[data-group='Blast']")).to_be_hidden()
    address = page.url
    choose(page, language="tr")
    page.goto(address)
    expect(counts.locator("tr[data-label='Band'] th")).to_contain_text("Çomak")
    expect(page.locator(".reasons", has_text="%100'ünün dışında")).to_be_visible()


def test_a_key_that_a_person_chose_for_something_else_goes_before_the_label_that_has_it(
    page: Page, cells: list[Path]
) -> None:
    page.goto("/#/settings")
    page.locator("#key-next").press("6")
    ids = waiting(page, cells[:2], "L-keys")
    expect(page.locator("#accept")).to_be_enabled()

    page.keyboard.press("6")

    expect(page.locator(f".tile[data-cell='{ids[1]}'] a")).to_have_attribute("aria-current", "true")
    assert said(kept_document(page)) == {}
    page.locator("#review-detail .more-labels summary").click()
    expect(page.locator("#as-Band")).to_have_text("Band")
    expect(page.locator("#as-Blast")).to_have_text("9 Blast")


def test_a_label_of_the_site_takes_no_key_from_the_gallery(page: Page, cells: list[Path]) -> None:
    def with_one_more(route: Route) -> None:
        told = route.fetch().json()
        told["labels"].append({**told["labels"][-1], "name": "Xenocyte", "key": "x"})
        route.fulfill(json=told)

    page.route("**/v1/labels", with_one_more)
    ids = waiting(page, cells[:2], "L-gallery")
    expect(page.locator("#accept")).to_be_enabled()
    page.keyboard.press("g")

    page.locator(f"#gallery .tile[data-cell='{ids[0]}'] a").press("x")

    expect(page.locator("#gallery-picked")).to_have_text("1 selected")
    expect(page.locator("#gallery button[data-label='Xenocyte']")).to_have_text("Xenocyte")

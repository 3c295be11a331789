"""Comments on cells and specimens, and what is added to a signed one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from orchestrator.store.encryption import new_key
from tests.e2e.page.conftest import LOOKS, WAIT_MS, asked, choose, kept, ordered, unheard, violations
from tests.running_service import RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    database = tmp_path_factory.mktemp("comments") / "wbc.db"
    environment = {"WBC_STORE__URL": f"sqlite:///{database}", "WBC_STORE__ENCRYPTION_KEY": new_key()}
    with running_service(environment=environment) as service:
        yield service


def opened(page: Page, place: str) -> None:
    page.goto(f"/#/specimen{place}")
    expect(page.locator("#accept")).to_be_enabled(timeout=WAIT_MS)


def texts(service: RunningService, place: str) -> list[str]:
    return [comment["text"] for comment in asked(service, "GET", place)["comments"]]


def test_a_comment_on_the_cell_is_written_by_keyboard_and_no_key_of_it_decides(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-cell", cells[:3])
    opened(page, place)
    unheard(page)
    first = asked(service, "GET", place)["review_list"][0]

    page.keyboard.press("c")
    expect(page.locator("#cell-comment")).to_be_focused()
    page.keyboard.type("5 lobes, c and u")
    page.keyboard.press("Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Control+Enter")

    said = page.locator("#review-detail .comments li")
    expect(said).to_contain_text("5 lobes, c and u\nsecond line")
    expect(said).to_contain_text("local")
    expect(page.locator("#review-detail")).to_be_focused()
    found = asked(service, "GET", place)
    assert [(c["cell_id"], c["text"]) for c in found["comments"]] == [
        (first, "5 lobes, c and u\nsecond line")
    ]
    assert [cell["decision"] for cell in found["cells"]] == [None] * 3
    expect(page.locator("#comments li")).to_contain_text("Cell")
    page.keyboard.press("Enter")
    expect(page.locator("#review-detail .comments")).to_have_count(0)


def test_what_is_not_sent_stays_with_its_cell_and_what_is_refused_in_its_field(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-draft", cells[:2])
    opened(page, place)
    unheard(page)

    page.keyboard.press("c")
    page.keyboard.type("begun")
    page.keyboard.press("Escape")
    expect(page.locator("#cell-comment")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.locator("#cell-comment")).to_have_value("")
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    expect(page.locator("#cell-comment")).to_have_value("begun")

    page.route("**/comments?*", lambda route: route.fulfill(status=503), times=1)
    page.locator("#cell-comment").press("Control+Enter")
    expect(page.locator(".comment-field .problem").first).to_contain_text("busy")
    expect(page.locator("#cell-comment")).to_have_value("begun")
    page.click("#cell-comment-send")
    expect(page.locator("#comments li")).to_contain_text("begun")
    assert texts(service, place) == ["begun"]


def test_a_comment_that_is_kept_is_not_asked_for_again_where_the_page_cannot_look_afterwards(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-kept", cells[:2])
    opened(page, place)
    unheard(page)
    page.route(f"**{place}", lambda route: route.fulfill(status=503))

    page.click("#specimen-comment-open")
    page.keyboard.type("once")
    page.keyboard.press("Control+Enter")

    expect(page.locator("#specimen-comment")).to_be_hidden()
    expect(page.locator("#specimen-comment")).to_have_value("")
    assert texts(service, place) == ["once"]


def test_on_a_slow_line_the_next_key_is_for_the_cell_and_what_is_refused_meanwhile_is_told(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-slow", cells[:2])
    opened(page, place)
    unheard(page)
    held: list[Route] = []
    page.route("**/comments?*", lambda route: held.append(route))
    first = page.locator("#cell-head").inner_text()

    page.keyboard.press("c")
    page.keyboard.type("slow")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("j")

    expect(page.locator("#cell-head")).not_to_have_text(first)
    page.wait_for_timeout(50)
    held[0].fulfill(status=403, content_type="application/json", body="{}")
    expect(page.locator("#view-specimen > .problem").first).to_contain_text("The comment is not kept")
    page.unroute("**/comments?*")
    page.keyboard.press("k")
    expect(page.locator("#cell-comment")).to_have_value("slow")
    page.locator("#cell-comment").press("Control+Enter")
    expect(page.locator("#comments li")).to_contain_text("slow")
    assert texts(service, place) == ["slow"]


def test_a_specimen_is_commented_on_signed_added_to_and_printed(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-signed", cells[:2])
    opened(page, place)
    page.click("#specimen-comment-open")
    page.keyboard.type("Thick smear.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#comments li")).to_contain_text("Thick smear.")
    page.click("#sign")
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("Signed by local")
    signed = asked(service, "GET", place)
    expect(page.locator("#cell-comment-open")).to_be_hidden()
    expect(page.locator("#specimen-comment-open")).to_have_text("Add to what is signed")

    page.keyboard.press("c")
    expect(page.locator("#specimen-comment")).to_be_focused()
    page.keyboard.type("Told to the ward by telephone.")
    page.click("#specimen-comment-send")

    added = page.locator("#comments li").last
    expect(added).to_contain_text("Told to the ward by telephone.")
    expect(added).to_contain_text("Addendum")
    after = asked(service, "GET", place)
    assert (after["signature"], after["counts"]) == (signed["signature"], signed["counts"])
    assert [comment["is_addendum"] for comment in after["comments"]] == [False, True]
    page.emulate_media(media="print")
    expect(added).to_be_visible()
    expect(page.locator("#specimen-comment-open")).to_be_hidden()
    kept(page, "comments_print")


def test_what_a_colleague_writes_comes_to_the_page_before_and_after_the_signature(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-both", cells[:2])
    opened(page, place)

    asked(service, "POST", f"{place}/comments", json={"text": "Look at the second one."})
    expect(page.locator("#others")).to_contain_text("local has written a comment meanwhile.")
    expect(page.locator("#comments li")).to_contain_text("Look at the second one.")
    page.click("#sign")
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("Signed by local")
    asked(service, "POST", f"{place}/addenda", json={"text": "Told."})
    expect(page.locator("#comments li").last).to_contain_text("Told.")


def test_axe_finds_nothing_in_comments_and_their_fields(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-axe", cells[:2])
    cell = asked(service, "GET", place)["review_list"][0]
    asked(service, "POST", f"{place}/comments", json={"text": "Vacuoles.", "cell_id": cell})
    for language, theme in LOOKS:
        choose(page, language=language, theme=theme)
        opened(page, place)
        page.reload()
        expect(page.locator("#accept")).to_be_enabled()
        page.keyboard.press("c")
        expect(page.locator("#cell-comment")).to_be_visible()
        page.click("#specimen-comment-open")
        assert violations(page) == [], (language, theme)
        kept(page, f"comments_{language}_{theme}")

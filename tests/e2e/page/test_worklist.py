"""The worklist: found, sorted, opened by keyboard, taken, and followed while colleagues work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from orchestrator.store.encryption import new_key
from tests.e2e.page.conftest import LOOKS, WAIT_MS, asked, choose, kept, ordered, violations
from tests.running_service import RunningService, running_service
from tests.waiting import becomes_meanwhile

COUNTS = {"S-1": 3, "S-2": 1, "S-3": 2}
"""Cells of each specimen, which all wait for a person; the last specimen is signed."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    database = tmp_path_factory.mktemp("worklist") / "wbc.db"
    environment = {
        "WBC_STORE__URL": f"sqlite:///{database}",
        "WBC_STORE__ENCRYPTION_KEY": new_key(),  # with the images, or nobody could decide here
    }
    with running_service(environment=environment) as service:
        yield service


@pytest.fixture(scope="module", autouse=True)
def places(service: RunningService, cells: list[Path]) -> dict[str, str]:
    """By name, where each specimen is."""
    found = {name: ordered(service, name, cells[:count]) for name, count in COUNTS.items()}
    asked(service, "POST", f"{found['S-3']}/sign")
    return found


def lists(page: Page, *expected: str) -> None:
    expect(page.locator("#stored tbody th a")).to_have_text(list(expected))


def test_the_list_is_filtered_sorted_and_searched_and_the_address_keeps_it(
    page: Page, places: dict[str, str]
) -> None:
    page.goto("/#/specimen")
    lists(page, "S-2", "S-1")
    page.select_option("#worklist-state", "all")
    lists(page, "S-3", "S-2", "S-1")
    created, doubt = (page.locator(f"#stored th:has(#sort-{one})") for one in ("created", "toReview"))
    expect(created).to_have_attribute("aria-sort", "descending")
    page.click("#sort-toReview")
    lists(page, "S-1", "S-3", "S-2")
    expect(doubt).to_have_attribute("aria-sort", "descending")
    assert created.get_attribute("aria-sort") is None
    page.click("#sort-toReview")
    lists(page, "S-2", "S-3", "S-1")
    expect(doubt).to_have_attribute("aria-sort", "ascending")

    address = page.url
    page.goto("/#/cells")
    page.goto(address)
    page.reload()

    lists(page, "S-2", "S-3", "S-1")
    expect(page.locator("#worklist-state")).to_have_value("all")
    page.fill("#worklist-text", "S-1")
    page.keyboard.press("Enter")
    lists(page, "S-1")
    page.fill("#worklist-text", places["S-3"][1:9])
    page.keyboard.press("Enter")
    lists(page, "S-3")
    page.check("#worklist-review")
    expect(page.locator("#worklist")).to_contain_text("No specimen is like that.")
    page.goto("/#/specimen?state=nonsense&sort=nonsense")
    lists(page, "S-2", "S-1")
    page.select_option("#worklist-age", "older")
    expect(page.locator("#worklist")).to_contain_text("No specimen is like that.")


def test_a_specimen_is_reached_and_opened_by_keyboard_and_the_review_has_the_keys(
    page: Page,
) -> None:
    page.goto("/#/specimen")
    lists(page, "S-2", "S-1")
    page.locator("#specimen-title").click()

    for key, name in (("j", "S-2"), ("ArrowDown", "S-1"), ("j", "S-1"), ("k", "S-2"), ("ArrowDown", "S-1")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.innerText") == name, key
    page.keyboard.press("Enter")

    expect(page.locator("#view-specimen h2")).to_contain_text("S-1")
    expect(page.locator("#accept")).to_be_enabled(timeout=WAIT_MS)
    comes_first = page.locator("#cell-head").inner_text()
    page.keyboard.press("j")
    expect(page.locator("#cell-head")).not_to_have_text(comes_first)
    assert page.evaluate("document.querySelector('#view-specimen').contains(document.activeElement)")


def test_the_list_follows_colleagues_and_keeps_the_focus(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    page.goto("/#/specimen?sort=created")
    lists(page, "S-1", "S-2")
    page.locator("#stored tbody th a").nth(1).focus()

    new = ordered(service, "S-new", cells[:1])
    lists(page, "S-1", "S-2", "S-new")
    asked(service, "POST", f"{new}/assign", json={"assignee": "anna"})
    expect(page.locator("#stored tbody tr").nth(2)).to_contain_text("anna")
    asked(service, "POST", f"{new}/sign")
    lists(page, "S-1", "S-2")

    assert page.evaluate("document.activeElement.innerText") == "S-2"


def test_a_list_that_nobody_sees_asks_for_nothing_until_it_is_seen_again(page: Page) -> None:
    page.clock.install()
    page.goto("/#/specimen")
    page.reload()
    lists(page, "S-2", "S-1")
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true}); "
    page.evaluate(hide % "true")
    asked_for: list[str] = []
    page.on("request", lambda request: asked_for.append(request.url))
    page.clock.fast_forward(60_000)
    assert [url for url in asked_for if "differentials" in url] == []

    with page.expect_request("**/v1/differentials?*"):
        page.evaluate(hide % "false" + "document.dispatchEvent(new Event('visibilitychange'))")


def test_a_specimen_is_taken_handed_over_and_what_a_colleague_took_first_is_said(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-taken", cells[:1])
    page.goto("/#/specimen?text=S-taken")
    row = page.locator("#stored tbody tr")
    expect(row).to_contain_text("nobody yet")

    asked(service, "POST", f"{place}/assign", json={"assignee": "anna"})
    page.locator(f"#take-{place[1:]}").click()
    expect(page.locator("#worklist")).to_contain_text("anna took it meanwhile")
    assert asked(service, "GET", place)["assignee"] == "anna"
    expect(row).to_contain_text("Take over")
    page.locator(f"#take-{place[1:]}").click()
    expect(row).to_contain_text("you")
    page.select_option("#worklist-whose", "mine")
    lists(page, "S-taken")
    page.locator("#stored a").click()
    page.locator(f"#hand-{place[1:]}").click()
    page.fill("#hand-name", "bob")
    page.click("#hand-yes")
    expect(page.locator("#assigned")).to_contain_text("bob")
    page.click("#sign")
    expect(page.locator("#sign-taken")).to_contain_text(
        "bob has taken this specimen. You may sign it all the same."
    )
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("Signed by local")
    trail = asked(service, "GET", f"{place}/audit")["entries"]
    told = [entry["details"]["assignee"] for entry in trail if entry["action"] == "assigned"]
    assert told == ["anna", "local", "bob"]


def test_what_a_colleague_decides_comes_to_the_page_and_a_key_on_its_way_does_not_undo_it(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-both", cells[:3])
    page.goto(f"/#/specimen{place}")
    expect(page.locator("#accept")).to_be_enabled(timeout=WAIT_MS)
    first, second, _ = asked(service, "GET", place)["review_list"]
    expect(page.locator(f".review-list .tile[data-cell='{first}'] a")).to_have_attribute(
        "aria-current", "true"
    )

    asked(service, "POST", f"{place}/cells/{first}/decision", json={"label": "Basophil"})
    expect(page.locator("#others")).to_contain_text("was decided meanwhile by local: Basophil.")
    expect(page.locator(".review-list .tile")).to_have_count(2)
    expect(page.locator("#said")).to_contain_text("Basophil")

    page.keyboard.press("5")
    expect(page.locator("#others")).to_contain_text("Your key was not taken")
    decisions = {cell["id"]: cell["decision"] for cell in asked(service, "GET", place)["cells"]}
    assert decisions[first]["label"] == "Basophil"
    page.keyboard.press("5")
    becomes_meanwhile(
        lambda: (
            page.evaluate("1") == 1
            and {c["id"]: c for c in asked(service, "GET", place)["cells"]}[first]["decision"]["label"]
            == "Neutrophil"
        )
    )
    asked(service, "POST", f"{place}/cells/{second}/decision", json={"label": "Monocyte"})
    expect(page.locator(".review-list .tile")).to_have_count(1)
    asked(service, "POST", f"{place}/sign")
    expect(page.locator("#signed")).to_contain_text("Signed by local")


def test_an_undo_on_its_way_does_not_take_back_what_a_colleague_decided(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-undo", cells[:3])
    cell = asked(service, "GET", place)["review_list"][0]
    page.goto(f"/#/specimen{place}")
    expect(page.locator("#cell-head")).to_contain_text("to review")
    asked(service, "POST", f"{place}/cells/{cell}/decision", json={"label": "Band"})
    expect(page.locator("#others")).to_contain_text("decided meanwhile by local: Band.")

    page.keyboard.press("u")
    expect(page.locator("#others")).to_contain_text("Your key was not taken")
    expect(page.locator("#said")).to_contain_text("Band")
    page.keyboard.press("u")
    expect(page.locator("#said")).to_be_empty()


def test_a_selected_cell_that_a_colleague_decides_is_selected_no_more(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-picked", cells[:2])
    first, second = (cell["id"] for cell in asked(service, "GET", place)["cells"])
    page.goto(f"/#/specimen{place}")
    expect(page.locator("#cell-head")).to_contain_text("to review")
    page.keyboard.press("g")
    for cell in (first, second):
        page.locator(f"#gallery .tile[data-cell='{cell}'] input").check()
    expect(page.locator("#gallery-picked")).to_have_text("2 selected")

    asked(service, "POST", f"{place}/cells/{first}/decision", json={"label": "Blast"})

    expect(page.locator("#gallery-picked")).to_have_text("1 selected")
    expect(page.locator(f"#gallery .tile[data-cell='{second}'] input")).to_be_checked()


def test_a_specimen_that_could_not_be_taken_can_be_taken_again_and_the_keyboard_stays_with_it(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    place = ordered(service, "S-again", cells[:1])
    page.goto("/#/specimen?text=S-again")
    take = page.locator(f"#take-{place[1:]}")
    page.route("**/assign", lambda route: route.fulfill(status=503), times=1)

    take.press("Enter")

    expect(page.locator("#worklist .problem")).not_to_be_empty()
    expect(take).to_be_enabled()
    expect(take).to_be_focused()
    take.press("Enter")
    expect(page.locator("#stored tbody tr")).to_contain_text("you")
    expect(page.locator(f"#give-{place[1:]}")).to_be_focused()


def test_a_longer_list_that_is_followed_leaves_out_nothing(
    page: Page, service: RunningService, cells: list[Path]
) -> None:
    def cancelled(number: int) -> None:
        files = [("files", cells[0].read_bytes())]
        found = asked(service, "POST", "", files=files, data={"specimen_id": f"S-long-{number:02}"})
        asked(service, "POST", f"/{found['id']}/cancel")

    for number in range(21):
        cancelled(number)
    names = [f"S-long-{number:02}" for number in reversed(range(23))]
    page.goto("/#/specimen?state=cancelled")
    lists(page, *names[2:22])
    page.click("#more-specimens")
    lists(page, *names[2:])

    for number in (21, 22):
        cancelled(number)

    lists(page, *names)
    expect(page.locator("#more-specimens")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_in_the_list_and_nothing_is_cut_on_a_telephone(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for language, theme in LOOKS:
        choose(page, language=language, theme=theme)
        page.goto("/#/specimen?state=all")
        expect(page.locator("#stored tbody tr").first).to_be_visible()
        assert violations(page) == [], (language, theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        kept(page, f"worklist_{width}_{language}_{theme}")
    if width == 390:
        label = page.locator("#stored td").first.evaluate("td => getComputedStyle(td, '::before').content")
        assert "Durum" in label

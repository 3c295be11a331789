"""What a person says of a cell: at once on the page, in its order at the service, never of another cell."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.page.conftest import PATIENCE_MS, WAIT_MS, choose, order, unheard
from tests.running_service import RunningService

DECISIONS = "**/decision"


def waiting(page: Page, cells: list[Path], name: str) -> list[str]:
    """A specimen of an unknown microscope, so that all its cells wait; their ids, as they come to review."""
    order(page, cells, name, profile="")
    expect(page.locator(".review-list .tile")).to_have_count(len(cells))
    page.locator("#view-specimen h2").click()
    tiles = page.locator(".review-list .tile")
    return [tiles.nth(at).get_attribute("data-cell") or "" for at in range(len(cells))]


def specimen_id(page: Page) -> str:
    return page.url.split("#/specimen/")[1].split("/")[0]


def kept_document(page: Page) -> dict[str, Any]:
    """The specimen on the screen as the service has it, once the page says that all is kept."""
    expect(page.locator("#pending")).to_be_empty(timeout=WAIT_MS)
    return document_of(page)


def document_of(page: Page) -> dict[str, Any]:
    """As it is now; asked again where the service had just closed a connection that lay idle."""
    return dict(page.request.get(f"/v1/differentials/{specimen_id(page)}", max_retries=2).json())


def said(document: dict[str, Any]) -> dict[str, str]:
    return {cell["id"]: cell["decision"]["label"] for cell in document["cells"] if cell["decision"]}


def answer_slowly(page: Page, latency_ms: int) -> None:
    """Let the way to the service and back take as long, for decisions."""
    page.evaluate(
        """(ms) => {
            const ask = window.fetch;
            const rest = () => new Promise((go_on) => setTimeout(go_on, ms / 2));
            window.fetch = async (path, options) => {
                if (!String(path).endsWith("/decision")) return ask(path, options);
                await rest();
                const answer = await ask(path, options);
                await rest();
                return answer;
            };
        }""",
        latency_ms,
    )


def held(page: Page, address: str) -> Callable[[], None]:
    """Hold what the page asks at this address; the function lets go of it."""
    routes: list[Route] = []
    is_held = True

    def hold(route: Route) -> None:
        if is_held:
            routes.append(route)
        else:
            route.continue_()

    def let_go() -> None:
        nonlocal is_held
        is_held = False
        for route in routes:
            route.continue_()

    page.route(address, hold)
    return let_go


KEYS = ("Enter", "5", "3", "u", "1", "Enter", "Control+z", "Control+Shift+z", "2")


def test_the_page_moves_on_before_any_answer_and_says_what_is_not_kept_yet(
    page: Page, cells: list[Path]
) -> None:
    waiting(page, cells[:6], "S-moves-on")
    let_go = held(page, DECISIONS)

    for key in KEYS:
        page.keyboard.press(key)

    expect(page.locator("#pending")).to_contain_text("9 decisions are being kept")
    expect(page.locator("#cell-head")).to_contain_text("1 of 1 to review")
    let_go()
    kept_document(page)


@pytest.mark.parametrize("latency_ms", [0, 150, 400, 2000])
def test_keys_as_fast_as_they_come_are_of_the_cell_on_the_screen_at_any_latency(
    page: Page, cells: list[Path], latency_ms: int
) -> None:
    ids = waiting(page, cells[:6], f"S-{latency_ms}")
    classes = {cell["id"]: cell["result"]["class"] for cell in kept_document(page)["cells"]}
    answer_slowly(page, latency_ms)

    for key in KEYS:
        page.keyboard.press(key)

    document = kept_document(page)
    assert said(document) == {
        ids[0]: classes[ids[0]],
        ids[1]: "Neutrophil",
        ids[2]: "Basophil",
        ids[3]: classes[ids[3]],
        ids[4]: "Eosinophil",
    }
    assert document["review_list"] == ids[5:]
    expect(page.locator("#cell-head")).to_contain_text("1 of 1 to review")
    expect(page.locator("#counts tr[data-label='Unidentified'] td").first).to_have_text("1")


def test_a_decision_that_is_refused_is_named_and_taken_back_and_the_others_stay(
    page: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:3], "S-refused")
    number = page.locator(".review-list .tile-name").first.text_content() or "no name"

    asked: list[Route] = []

    def refuse_the_first(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=409, json={"title": "Conflict", "detail": "It is locked.", "status": 409})

    page.route(DECISIONS, refuse_the_first)
    page.keyboard.press("1")
    page.keyboard.press("2")

    expect(page.locator("#refused")).to_contain_text(f"{number} was not kept as Basophil")
    expect(page.locator("#refused")).to_contain_text("It is locked.")
    assert said(kept_document(page)) == {ids[1]: "Eosinophil"}
    expect(page.locator(f".review-list .tile[data-cell='{ids[0]}']")).to_be_visible()
    decided(page, ids[0], "1")
    expect(page.locator("#refused")).to_be_empty()
    assert said(kept_document(page)) == {ids[0]: "Basophil", ids[1]: "Eosinophil"}


def test_while_the_service_is_gone_decisions_wait_also_for_who_looks_at_something_else(
    page: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:3], "S-gone")
    address = page.url
    page.route(DECISIONS, lambda route: route.abort())
    page.keyboard.press("1")
    page.keyboard.press("2")
    expect(page.locator("#pending")).to_contain_text("2 decisions are not kept yet")
    expect(page.locator("#pending")).to_contain_text("cannot be reached")

    page.click("nav a[data-view='settings']")
    page.goto(address)
    expect(page.locator(".review-list .tile")).to_have_count(1)
    page.unroute(DECISIONS)

    assert said(kept_document(page)) == {ids[0]: "Basophil", ids[1]: "Eosinophil"}


def test_a_signature_waits_for_the_decisions_before_it(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:2], "S-sign")
    let_go = held(page, DECISIONS)
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.keyboard.press("s")
    page.click("#sign-yes")
    expect(page.locator("#sign")).to_be_disabled()
    page.keyboard.press("3")  # too late
    assert kept_state(page) == "analysed"

    let_go()

    expect(page.locator("#signed")).to_contain_text("Signed by local")
    assert said(kept_document(page)) == {ids[0]: "Basophil", ids[1]: "Eosinophil"}


def kept_state(page: Page) -> str:
    return str(document_of(page)["state"])


def test_nothing_is_signed_where_a_decision_before_it_was_refused(page: Page, cells: list[Path]) -> None:
    waiting(page, cells[:2], "S-not-signed")
    routes: list[Route] = []
    page.route(DECISIONS, lambda route: routes.append(route))
    page.keyboard.press("1")
    page.keyboard.press("s")
    page.click("#sign-yes")
    expect(page.locator("#sign")).to_be_disabled()
    while not routes:
        page.wait_for_timeout(50)

    routes[0].fulfill(status=422, json={"detail": "No such label.", "status": 422})

    expect(page.locator("#view-specimen .problem").first).to_contain_text("It is not signed")
    expect(page.locator("#sign")).to_be_enabled()
    assert kept_state(page) == "analysed"


def test_a_press_that_began_before_the_heatmap_came_is_heard(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:2], "S-press")
    let_go = held(page, "**/v1/analyses")
    page.locator(f".tile[data-cell='{ids[1]}'] a").click()
    expect(page.locator("#review-detail .frame")).to_be_visible()
    page.locator("#as-Monocyte").hover()
    page.mouse.down()
    let_go()
    expect(page.locator("#review-detail .legend")).to_be_visible()
    page.mouse.up()

    assert said(kept_document(page)) == {ids[1]: "Monocyte"}


def test_a_key_that_is_held_down_decides_one_cell(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:3], "S-held")

    for _ in range(3):
        page.keyboard.down("2")
    page.keyboard.up("2")

    assert said(kept_document(page)) == {ids[0]: "Eosinophil"}


def test_the_end_of_the_analysis_leaves_the_cell_that_a_person_looks_at(
    page: Page, cells: list[Path]
) -> None:
    let_go = held(page, "**/events")
    page.goto("/#/specimen")
    page.fill("#specimen-id", "S-end")
    page.set_input_files("#files", [str(path) for path in cells[:5]])
    page.click("#order:enabled")
    for number in (5, 4):  # one of them is not the first of the review
        page.locator(f".tile a[href$='/{number}']").click()
    last = page.url.split("/")[-1]

    let_go()

    expect(page.locator("#sign")).to_be_enabled(timeout=WAIT_MS)
    expect(page.locator("#cell-head")).to_contain_text(f"Cell {last} ")


@pytest.fixture
def colleague(browser: Browser, service: RunningService, page: Page) -> Iterator[Page]:
    """The page in a browser of somebody else, of whom the first page hears when it says something itself."""
    unheard(page)
    context = browser.new_context(base_url=service.url, locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def opened(colleague: Page, address: str, cells: list[Path]) -> None:
    """Somebody else opens a specimen, with the same images."""
    colleague.goto(address)
    expect(colleague.locator("#picture-note")).to_contain_text("Choose the images again")
    colleague.set_input_files("#images-again", [str(path) for path in cells])
    expect(colleague.locator("#accept")).to_be_enabled()


def decided(page: Page, cell: str, key: str) -> None:
    """A person goes to a cell and decides it; the service knows."""
    tile = page.locator(f".tile[data-cell='{cell}'] a")
    if not tile.count():  # only tiles near the screen are in the document: a person scrolls to the others
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
    tile.click()
    expect(tile).to_have_attribute("aria-current", "true")
    expect(page.locator("#accept")).to_be_enabled()
    with page.expect_response(DECISIONS):
        page.keyboard.press(key)


def test_what_a_colleague_decided_meanwhile_is_not_overwritten_and_said_in_words(
    page: Page, colleague: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:4], "S-two")
    first = page.locator(".review-list .tile-name").first.text_content() or "no name"
    opened(colleague, page.url, cells[:4])
    decided(colleague, ids[0], "2")
    decided(colleague, ids[2], "3")

    let_go = held(page, DECISIONS)
    for key in ("1", "5", "4"):  # all three as they were before
        page.keyboard.press(key)
    let_go()

    refused = page.locator("#refused")
    expect(refused).to_contain_text(f"{first} was decided meanwhile by local: Eosinophil.")
    expect(refused).to_contain_text("Your Basophil was not kept.")
    expect(refused).to_contain_text("Your Monocyte was not kept.")
    document = kept_document(page)
    assert said(document) == {ids[0]: "Eosinophil", ids[1]: "Neutrophil", ids[2]: "Lymphocyte"}
    expect(page.locator(".review-list .tile")).to_have_count(1)
    choose(page, language="tr")
    page.go_back()
    expect(refused).to_contain_text("bu arada yerel karar verdi: Eozinofil.")
    choose(page, language="en")
    page.go_back()
    expect(page.locator("#cell-head")).to_contain_text("Cell")  # and no Turkish page that gives way
    decided(page, ids[0], "1")  # now that it was seen
    expect(refused).not_to_contain_text(first)
    assert said(kept_document(page))[ids[0]] == "Basophil"


def test_taking_a_decision_back_leaves_what_a_colleague_made_of_it(
    page: Page, colleague: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:3], "S-two-undo")
    page.keyboard.press("1")
    kept_document(page)
    opened(colleague, page.url, cells[:3])
    decided(colleague, ids[0], "2")
    page.keyboard.press("4")  # its answer tells of the colleague's
    kept_document(page)

    page.keyboard.press("u")
    page.keyboard.press("u")

    expect(page.locator("#refused")).to_contain_text("was decided meanwhile by local: Eosinophil.")
    assert said(kept_document(page)) == {ids[0]: "Eosinophil"}


def test_an_answer_that_was_lost_is_no_colleagues_decision(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:3], "S-lost")
    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route)
        route.fetch()
        route.abort()

    page.route(DECISIONS, lose_the_first)
    page.keyboard.press("1")
    page.keyboard.press("u")
    page.keyboard.press("2")

    assert said(kept_document(page)) == {ids[0]: "Eosinophil"}
    expect(page.locator("#refused")).to_be_empty()


def test_a_signature_is_of_what_was_seen_and_names_what_a_colleague_decided_meanwhile(
    page: Page, colleague: Page, cells: list[Path]
) -> None:
    ids = waiting(page, cells[:3], "S-two-sign")
    names = [page.locator(".review-list .tile-name").nth(at).text_content() or "no name" for at in range(3)]
    opened(colleague, page.url, cells[:3])
    decided(colleague, ids[1], "2")
    decided(page, ids[0], "1")  # its answer tells of the colleague's
    expect(page.locator(".review-list .tile")).to_have_count(1)

    page.keyboard.press("s")
    decided(colleague, ids[2], "3")
    page.click("#sign-yes")

    problem = page.locator("#view-specimen .problem").first
    expect(problem).to_contain_text("It is not signed.")
    expect(problem).to_contain_text(f"{names[2]} was decided meanwhile by local: Lymphocyte.")
    expect(problem).not_to_contain_text(names[1])
    assert kept_state(page) == "analysed"
    page.click("#sign:enabled")
    page.click("#sign-yes")
    expect(page.locator("#signed")).to_contain_text("Signed by local")
    expect(problem).to_be_empty()


def test_a_signature_after_many_decisions_rests_on_the_last_of_them(page: Page, cells: list[Path]) -> None:
    ids = waiting(page, cells[:3], "S-sign-last")
    asked: list[Route] = []

    def hear(route: Route) -> None:
        asked.append(route)
        route.continue_()

    page.route("**/sign", hear)
    for key in ("1", "u", "2", "3", "4", "s"):
        page.keyboard.press(key)
    page.click("#sign-yes")

    expect(page.locator("#signed")).to_contain_text("Signed by local")
    assert len(asked) == 1
    assert asked[0].request.headers["if-match"].strip('"').isdigit()
    assert said(kept_document(page)) == dict(zip(ids, ("Eosinophil", "Lymphocyte", "Monocyte"), strict=True))

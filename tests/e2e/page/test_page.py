"""The page as a whole: where it is opened, and what it says when something in it fails."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.page.conftest import PATIENCE_MS, analysed
from tests.running_service import running_service


@pytest.fixture
def elsewhere(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page over plain http under the name of another machine: no secure context."""
    environment = {
        "WBC_HTTP__HOST": "0.0.0.0",
        "WBC_SECURITY__ALLOW_UNAUTHENTICATED": "true",
        "WBC_STORE__URL": f"sqlite:///{tmp_path}/wbc.db",
    }
    with running_service(environment=environment) as service:
        port = service.url.rsplit(":", 1)[1]
        other = browser.browser_type.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--host-resolver-rules=MAP lab-server 127.0.0.1"],
        )
        page = other.new_page(base_url=f"http://lab-server:{port}")
        page.set_default_timeout(PATIENCE_MS)
        yield page
        other.close()


def test_a_specimen_is_ordered_and_reviewed_over_plain_http(elsewhere: Page, cells: list[Path]) -> None:
    page = elsewhere
    page.goto("/#/specimen")
    assert page.evaluate("window.isSecureContext") is False
    page.fill("#specimen-id", "S-1")
    page.set_input_files("#files", [str(path) for path in cells[:2]])
    page.click("#order:enabled")
    analysed(page)

    page.locator("#view-specimen h2").click()
    page.keyboard.press("1")

    expect(page.locator(".review-list .tile")).to_have_count(1)
    expect(page.locator("#trouble")).to_be_empty()


@pytest.fixture
def failing(page: Page) -> Page:
    """A page of its own, in which scripts may fail."""
    return page.context.new_page()


@pytest.mark.parametrize(
    "failure",
    [
        "setTimeout(() => { throw new Error('It broke.'); })",
        "Promise.reject(new Error('It broke.')), null",
        "Object.defineProperty(Array.prototype, 'map', {get() { throw new Error('It broke.'); }}),"
        "location.hash = '#/settings'",
    ],
)
def test_whatever_fails_in_the_page_is_said_in_words(failing: Page, failure: str) -> None:
    failing.goto("/#/cells")
    expect(failing.locator("#samples")).to_be_visible()

    failing.evaluate(failure)

    expect(failing.locator("#trouble")).to_contain_text("It broke.")
    expect(failing.locator("#trouble button")).to_have_text("Load the page again")


def test_a_script_that_cannot_be_had_is_said_in_words(failing: Page) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=502, body="")

    failing.route("**/web/cells_view.js", refuse)
    failing.goto("/#/cells")

    expect(failing.locator("#trouble")).to_contain_text("app.js")

"""A real Chromium that drives the page of the real service."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect, sync_playwright

from tests.running_service import PROJECT_ROOT, RunningService, running_service
from tests.synthetic_cells import synthetic_cell
from tests.waiting import becomes_meanwhile

SCREENSHOTS = PROJECT_ROOT / "runs" / "screenshots"
LOOKS = [(language, theme) for language in ("en", "tr") for theme in ("light", "dark")]
PATIENCE_MS = 60_000
"""For clicks and expectations alike: what is awaited comes, or does not come, however busy the machine."""
WAIT_MS = 600_000
"""For the analysis of a hundred cells on a machine that others use too."""
CLIENT = httpx2.Client(timeout=60, verify=False, headers={"Connection": "close"})  # plain http
CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")

expect.set_options(timeout=PATIENCE_MS)


# Not for the whole run: where Playwright is, so is its event loop, and an asynchronous test wants its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    with sync_playwright() as playwright:
        # The sandbox of Chromium needs rights that a container does not give.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    database = tmp_path_factory.mktemp("store") / "wbc.db"
    with running_service(environment={"WBC_STORE__URL": f"sqlite:///{database}"}) as service:
        yield service


@pytest.fixture
def context(browser: Browser, service: RunningService) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=service.url, viewport={"width": 1280, "height": 900}, locale="en-GB", accept_downloads=True
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """The page, opened. At the end nothing may have been refused by its policy and no script have failed."""
    page = context.new_page()
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            problems.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())  # that images are left behind
    page.goto("/")
    yield page
    assert problems == []


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve painted cells, as files. Of the third, fourth and ninth the service asks for a review."""
    folder = tmp_path_factory.mktemp("cells")
    paths = []
    for number in range(12):
        path = folder / f"cell_{number:02}.jpg"
        cv2.imwrite(str(path), synthetic_cell(CLASSES[number % 5], seed=number or 15)[:, :, ::-1])
        paths.append(path)
    return paths


def comes_true(page: Page, expression: str) -> None:
    """Wait until this JavaScript is true.

    Playwright's own way asks for an eval where it is not true at once, which the policy of the page forbids.
    """
    ends = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < ends, f"never true: {expression}"
        page.wait_for_timeout(50)


def violations(page: Page) -> list[str]:
    """What breaks a rule of WCAG 2.2 AA, or axe's best practices."""
    # The size of targets is new in WCAG 2.2, and axe does not look at it unless it is told to.
    options = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def unheard(page: Page) -> None:
    """What others do does not come to the page by itself: where it asks, nothing has changed."""

    def still_so(route: Route) -> None:
        if "if-none-match" in route.request.headers:
            route.fulfill(status=304)
        else:
            route.fallback()

    page.route(re.compile(r"/v1/differentials/[\w-]+$"), still_so)


def choose(page: Page, **choices: str) -> None:
    """Make choices in the settings."""
    page.goto("/#/settings")
    for name, value in choices.items():
        page.select_option(f"#setting-{name}", value)


def tab_to(page: Page, selector: str) -> None:
    """Go to an element as who has no mouse."""
    for _ in range(60):
        if page.evaluate(f"document.activeElement?.matches({selector!r})"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def kept(page: Page, name: str) -> None:
    """Keep a picture of the page for who wants to look at it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def order(page: Page, files: list[Path], name: str, total: str = "", profile: str = "painted") -> None:
    """Order a specimen of these painted cells, by their own profile where no other is chosen."""
    choose(page, profile=profile)
    page.goto("/#/specimen")
    page.fill("#specimen-id", name)
    page.fill("#total-wbc", total)
    page.set_input_files("#files", [str(path) for path in files])
    page.click("#order:enabled")
    analysed(page)


def analysed(page: Page) -> None:
    expect(page.locator("#sign")).to_be_enabled(timeout=WAIT_MS)


def asked(service: RunningService, method: str, path: str, **options: Any) -> dict[str, Any]:
    """What the service answers to somebody else."""
    response = CLIENT.request(method, f"{service.url}/v1/differentials{path}", **options)
    assert response.status_code < 300, response.text
    return dict(response.json())


def ordered(service: RunningService, name: str, cells: list[Path]) -> str:
    """A specimen that is analysed; its id."""
    files = [("files", path.read_bytes()) for path in cells]
    data = {"specimen_id": name, "tta": "none"}
    place = f"/{asked(service, 'POST', '', files=files, data=data)['id']}"
    becomes_meanwhile(lambda: asked(service, "GET", place)["state"] == "analysed")
    return place

"""For everybody: both languages, both themes, the keyboard alone, narrow screens, and what axe finds."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.page.conftest import kept

VIEWS = ("cells", "specimen", "history", "settings")


def choose(page: Page, **choices: str) -> None:
    page.goto("/#/settings")
    for name, value in choices.items():
        page.select_option(f"#setting-{name}", value)


def violations(page: Page) -> list[str]:
    """What breaks a rule of WCAG 2.2 AA, or axe's best practices."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(page: Page, language: str, theme: str) -> None:
    choose(page, language=language, theme=theme)
    page.goto("/#/cells")
    page.click("#samples")
    expect(page.locator("#clear")).to_be_visible()
    page.click(".tile[data-id='3'] a")
    expect(page.locator(".report")).to_have_attribute("aria-busy", "false")
    page.locator(".facts summary").click()

    assert violations(page) == []
    kept(page, f"cells_{language}_{theme}")
    for view in VIEWS[1:]:
        page.goto(f"/#/{view}")
        expect(page.locator(f"#view-{view} h2")).to_be_visible()
        assert violations(page) == []
        kept(page, f"{view}_{language}_{theme}")


def test_turkish_is_turkish_in_words_and_numbers(page: Page) -> None:
    choose(page, language="tr")
    page.goto("/#/cells")
    page.click("#samples")
    expect(page.locator("#clear")).to_have_text("Temizle")

    page.click(".tile[data-id='5'] a")

    assert page.evaluate("document.documentElement.lang") == "tr"
    expect(page.locator(".disclaimer")).to_contain_text("Yalnızca araştırma amaçlıdır")
    expect(page.locator("#detail h3")).to_have_text("Nötrofil")
    expect(page.locator("#detail .decision strong")).to_contain_text("%9")
    expect(page.locator(".report-text")).to_have_attribute("lang", "tr")
    expect(page.locator(".report-text")).to_contain_text("Model bu hücreyi")


def test_every_word_is_there_in_both_languages(page: Page) -> None:
    english, turkish = (
        page.evaluate(f"import('/web/messages.js').then((words) => words.keysOf('{code}'))")
        for code in ("en", "tr")
    )

    assert sorted(english) == sorted(turkish)
    assert len(english) > 100


def test_a_cell_is_reached_opened_and_read_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if page.evaluate(f"document.activeElement?.matches({selector!r})"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by Tab")

    tab_to("#samples")
    page.keyboard.press("Enter")
    expect(page.locator("#clear")).to_be_visible()
    tab_to(".tile a")
    page.keyboard.press("Enter")
    expect(page.locator("#detail h3")).to_be_visible()
    tab_to(".frame")
    page.keyboard.press("+")
    assert "scale(1.5)" in (page.locator(".stage").get_attribute("style") or "")
    tab_to("#opacity")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "opacity"


@pytest.mark.parametrize("width", [320, 640])  # 640 is 1280 at 200 % zoom
def test_nothing_is_cut_off_on_a_narrow_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.click("#samples")
    expect(page.locator("#clear")).to_be_visible()
    page.click(".tile[data-id='2'] a")
    expect(page.locator(".bars")).to_be_visible()

    for view in ("cells/2", "specimen", "history", "settings"):
        page.goto(f"/#/{view}")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
    kept(page, f"narrow_{width}")


def test_the_policy_lets_no_script_in_from_anywhere_else(page: Page) -> None:
    response = page.request.get("/")

    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "<script>" not in response.text()
    assert "style=" not in response.text()


def test_every_asset_comes_from_the_service_itself(page: Page, service) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.click("#samples")
    expect(page.locator("#clear")).to_be_visible()

    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((service.url, "blob:", "data:"))] == []

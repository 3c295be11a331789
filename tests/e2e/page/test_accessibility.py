"""For everybody: both languages, both themes, the keyboard alone, narrow screens, and what axe finds."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.conftest import LOOKS, WAIT_MS, choose, kept, tab_to, violations


def test_axe_finds_nothing_in_any_view_in_either_language_and_theme(page: Page, cells: list[Path]) -> None:
    page.goto("/#/specimen")
    page.fill("#specimen-id", "S-1")
    page.set_input_files("#files", str(cells[0]))
    page.click("#order:enabled")
    expect(page.locator("#sign")).to_be_enabled()
    page.goto("/#/cells")
    assert violations(page) == []
    page.click("#samples")
    expect(page.locator("#clear")).to_be_visible()
    for language, theme in LOOKS:
        choose(page, language=language, theme=theme)
        page.goto("/#/cells")
        expect(page.locator(".overview")).to_be_visible()
        assert violations(page) == [], (language, theme)
        page.click(".tile[data-id='3'] a")
        expect(page.locator(".report")).to_have_attribute("aria-busy", "false")
        page.locator(".more summary").click()
        assert violations(page) == [], (language, theme)
        kept(page, f"cells_{language}_{theme}")
        for view, shown in (
            ("specimen", "#stored tbody tr"),
            ("history", "#history-title"),
            ("settings", "#reset"),
        ):
            page.goto(f"/#/{view}")
            expect(page.locator(shown).first).to_be_visible()
            assert violations(page) == [], (view, language, theme)
            kept(page, f"{view}_{language}_{theme}")


def test_the_footer_leads_by_keyboard_to_the_documentation_and_that_back_to_the_page(page: Page) -> None:
    choose(page, language="tr")
    link = page.locator("footer a")
    expect(link).to_have_text("Belgeler")
    choose(page, language="en")
    expect(link).to_have_text("Documentation")

    tab_to(page, "footer a")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("WBC Analyzer")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert violations(page) == [], theme
        kept(page, f"docs_{theme}")
    page.locator("nav a", has_text="POST /predict").click()
    assert page.url.endswith("/docs#predict")
    page.locator("main p a").first.click()
    expect(page.locator("#samples")).to_be_visible()


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

    tab_to(page, "#samples")
    page.keyboard.press("Enter")
    expect(page.locator("#clear")).to_be_visible()
    tab_to(page, ".tile a")
    page.keyboard.press("Enter")
    expect(page.locator("#detail h3")).to_be_visible()
    tab_to(page, ".frame")
    page.keyboard.press("+")
    assert "scale(1.5)" in (page.locator(".stage").get_attribute("style") or "")
    tab_to(page, "#opacity")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "opacity"


# 640 is 1280 at 200 % zoom; Turkish words are the longer ones.
@pytest.mark.parametrize(("width", "language"), [(320, "tr"), (640, "en")])
def test_nothing_is_cut_off_on_a_narrow_screen(page: Page, width: int, language: str) -> None:
    choose(page, language=language)
    page.set_viewport_size({"width": width, "height": 700})
    page.goto("/#/specimen")
    page.fill("#specimen-id", "Specimen-of-a-long-name-2026-11-0000417")
    page.click("#samples")
    page.click("#order:enabled")
    expect(page.locator("#sign")).to_be_enabled(timeout=WAIT_MS)
    specimen = page.url.split("#")[1]
    page.goto("/#/cells")
    page.click("#samples")
    expect(page.locator("#clear")).to_be_visible()

    for view, shown in (
        (specimen, "#review-detail .stage canvas"),
        ("/cells/2", "#detail .stage canvas"),
        ("/specimen", "#stored"),
        ("/history", "#history-title"),
        ("/settings", "#reset"),
    ):
        page.goto(f"/#{view}")
        expect(page.locator(shown)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        kept(page, f"narrow_{width}_{view.split('/')[1]}")


def test_palette_and_theme_change_the_colours(page: Page) -> None:
    def colours() -> list[str]:
        style = "getComputedStyle(document.documentElement)"
        return [page.evaluate(f"{style}.getPropertyValue('--{name}')") for name in ("neutrophil", "ground")]

    page.emulate_media(color_scheme="light")
    light = colours()
    page.emulate_media(color_scheme="dark")
    dark = colours()
    choose(page, theme="light")
    assert colours() == light
    choose(page, theme="dark", palette="colour-blind")

    assert dark != light
    assert colours() == ["#cc79a7", dark[1]]


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

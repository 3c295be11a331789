"""A differential on paper: pictures of its cells, pages that are numbered and say what they are of."""

import re
import zlib
from pathlib import Path

from playwright.sync_api import Page, expect

from orchestrator.domain import DISCLAIMER
from tests.e2e.page.conftest import comes_true, order

NAME = 'P-1 "left"'


def test_all_pictures_are_there_before_it_is_printed_and_each_page_has_its_margins(
    page: Page, cells: list[Path]
) -> None:
    order(page, cells, NAME)
    page.evaluate("window.print = () => { window.isPrinted = true; }")

    page.click("#print")

    comes_true(page, "window.isPrinted === true")
    pictures = page.locator(".on-paper img")
    expect(pictures).to_have_count(len(cells))
    assert all(pictures.evaluate_all("(all) => all.map((one) => one.complete && one.naturalWidth > 0)"))
    expect(page.locator(".on-paper")).to_be_hidden()  # on the screen
    pdf = page.pdf(format="A5", print_background=True)
    texts = texts_of_pages(pdf)
    assert len(texts) > 1
    for number, text in enumerate(texts, 1):
        assert DISCLAIMER.replace(" ", "") in text
        assert NAME.replace(" ", "") in text
        assert f"{number}/{len(texts)}" in text
    assert pdf.count(b"/Subtype /Image") >= len(cells)
    expect(pictures).to_have_count(0)  # nothing of it stays in the page


def test_who_goes_on_before_the_pictures_are_there_prints_nothing_else(page: Page, cells: list[Path]) -> None:
    order(page, cells, "P-2")
    page.evaluate("""() => {
        window.print = () => { window.isPrinted = true; };
        window.pressed = document.querySelector("#print");
        const made = createImageBitmap;
        const held = new Promise((go) => { window.go = go; });
        window.createImageBitmap = async (...of) => { await held; return made(...of); };
    }""")

    page.click("#print")
    page.evaluate("() => { location.hash = '#/specimen'; }")
    expect(page.locator("#specimen-id")).to_be_visible()
    page.evaluate("() => window.go()")

    comes_true(page, "!window.pressed.disabled")
    assert not page.evaluate("Boolean(window.isPrinted)")


def texts_of_pages(pdf: bytes) -> list[str]:
    """What stands on the pages of a PDF as Chromium writes it, without spaces; each font maps to Unicode."""
    objects = {int(one[1]): one[2] for one in re.finditer(rb"\n(\d+) 0 obj\n(.*?)\nendobj", pdf, re.DOTALL)}

    def stream(number: int) -> bytes:
        return zlib.decompress(objects[number].partition(b"stream\n")[2].rpartition(b"\nendstream")[0])

    def characters(font: int) -> dict[int, str]:
        found: dict[int, str] = {}
        (to_unicode,) = re.findall(rb"/ToUnicode (\d+) 0 R", objects[font])
        text = stream(int(to_unicode)).decode()
        for block in re.findall(r"beginbfchar(.*?)endbfchar", text, re.DOTALL):
            for code, character in re.findall(r"<(\w+)> <(\w+)>", block):
                found[int(code, 16)] = bytes.fromhex(character).decode("utf-16-be")
        for block in re.findall(r"beginbfrange(.*?)endbfrange", text, re.DOTALL):
            for first, last, character in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
                for at in range(int(last, 16) - int(first, 16) + 1):
                    found[int(first, 16) + at] = chr(int(character, 16) + at)
        return found

    texts = []
    for one in objects.values():
        if not re.search(rb"/Type /Page\b(?!s)", one):
            continue
        fonts = {name: characters(int(font)) for name, font in re.findall(rb"/(F\d+) (\d+) 0 R", one)}
        (content,) = re.findall(rb"/Contents (\d+) 0 R", one)
        text, font = "", {}
        for name, shown in re.findall(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>", stream(int(content))):
            if name:
                font = fonts[name]
            text += "".join(font[int(shown[at : at + 4], 16)] for at in range(0, len(shown), 4))
        texts.append(text.replace(" ", ""))
    return texts

"""How fast the page is in a real Chromium, with a specimen of a thousand cells.

    python -m loadtests.page [--cells 1000]

A model server that answers at once, so that what is measured is the page. First contentful paint of an
empty page and of the specimen; frames a second while its gallery is scrolled through; and the delay of key
presses in the review, from the press to the first line of the page's code (INP's input delay) and to the
next frame. Wanted: a first useful paint within 1 s, 60 frames a second, and an input delay of at most 50 ms
at the 98th percentile. Writes ``page.md`` under ``runs/load/``. For research use only. Not for use in
diagnostic procedures.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
from cryptography.fernet import Fernet
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from loadtests.host import host_in_words
from loadtests.images import painted_cells
from loadtests.load import verdict_table
from loadtests.objective import Verdict
from orchestrator.domain import DISCLAIMER
from tests.running_service import running_service

KEYS: Final = 120
SCROLL_S: Final = 6.0
ANALYSED_S: Final = 900.0

PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
LISTEN: Final = """() => {
    window.pressed = [];
    new PerformanceObserver((list) => {
        for (const one of list.getEntries()) {
            if (one.name !== "keydown") continue;
            window.pressed.push([one.processingStart - one.startTime, one.duration]);
        }
    }).observe({type: "event", durationThreshold: 16, buffered: true});
}"""
SCROLL: Final = """(seconds) => new Promise((done) => {
    const begun = performance.now(), frames = [];
    const step = (now) => {
        frames.push(now);
        const share = (now - begun) / 1000 / seconds;
        scrollTo({top: share * document.documentElement.scrollHeight, behavior: "instant"});
        if (share < 1) requestAnimationFrame(step);
        else done(frames.slice(1).map((at, index) => at - frames[index]));
    };
    requestAnimationFrame(step);
})"""


def ordered(url: str, cells: int) -> str:
    """The id of an analysed specimen of so many cells; the painted ones by turns."""
    files = painted_cells()
    with httpx2.Client(base_url=url, timeout=300) as client:
        sent = [files[number % len(files)] for number in range(cells)]
        form = [
            ("files", (f"{number}-{one.name}", one.data, one.media_type)) for number, one in enumerate(sent)
        ]
        response = client.post("/v1/differentials", data={"specimen_id": "S-1", "tta": "none"}, files=form)
        response.raise_for_status()
        path = f"/v1/differentials/{response.json()['id']}"
        ends = time.monotonic() + ANALYSED_S
        while client.get(path, params={"cells": "false"}).json()["state"] != "analysed":
            if time.monotonic() > ends:
                raise RuntimeError("the specimen was not analysed in time")
            time.sleep(1)
        return path.rpartition("/")[2]


def first_paint_ms(page: Page, address: str) -> float:
    """Of a page that is opened anew."""
    page.goto("about:blank")
    page.goto(address)
    for _ in range(100):
        if (found := page.evaluate(PAINT)) is not None:
            return float(found)
        page.wait_for_timeout(50)
    raise RuntimeError(f"{address}: nothing was painted")


def measured(page: Page, address: str) -> list[tuple[str, str, float, float, bool]]:
    """What, in which unit, how much, what is wanted, and whether at least that."""
    rows: list[tuple[str, str, float, float, bool]] = [
        ("first contentful paint, empty", "ms", first_paint_ms(page, "/"), 1000, False),
        ("first contentful paint, specimen", "ms", first_paint_ms(page, address), 1000, False),
    ]
    page.wait_for_selector("#accept:enabled")
    rows.append(
        ("the first cell can be decided after", "ms", float(page.evaluate("performance.now()")), 1000, False)
    )
    page.evaluate(LISTEN)
    page.locator("#view-specimen h2").click()
    for number in range(KEYS):
        page.keyboard.press("j" if number % 3 else "2")
        page.wait_for_timeout(40)
    page.wait_for_timeout(1000)
    pressed: list[Any] = page.evaluate("window.pressed")
    # Of events under 16 ms nothing is told: they count as 0.
    waits = np.zeros((max(KEYS, len(pressed)), 2))
    waits[: len(pressed)] = np.array(pressed).reshape(-1, 2)
    delay, frame = (float(value) for value in np.percentile(waits, 98, axis=0))
    rows.append(("a key's input delay, 98th percentile", "ms", delay, 50, False))
    rows.append(("a key to the next frame, 98th percentile", "ms", frame, 200, False))
    page.keyboard.press("g")
    page.wait_for_selector("#gallery .tile img")
    frames = np.array(page.evaluate(SCROLL, SCROLL_S))
    rows.append(("frames a second, gallery scrolled", "1/s", 1000 / float(frames.mean()), 60, True))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and judge; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("no Chromium: install Debian's package chromium")
    before = host_in_words()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "WBC_STORE__URL": f"sqlite:///{folder}/wbc.db",
            "WBC_STORE__ENCRYPTION_KEY": Fernet.generate_key().decode(),
        }
        with running_service(("-m", "loadtests.canned_service"), environment) as service:
            specimen = ordered(service.url, options.cells)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_page(base_url=service.url, viewport={"width": 1440, "height": 900})
                rows = measured(page, f"/#/specimen/{specimen}")
                browser.close()
    about = f"{options.cells} cells, 1440x900; {before} before, {host_in_words()} after"
    verdicts = [
        Verdict(
            f"{what}: at {'least' if is_least else 'most'} {wanted:g} {unit}",
            f"{value:.1f} {unit}",
            value >= 0.97 * wanted if is_least else value <= wanted,
        )
        for what, unit, value, wanted, is_least in rows
    ]
    console = Console()
    table: Table = verdict_table(verdicts)
    console.print(table)
    lines = [
        "# The page in a browser",
        "",
        f"{about}. {DISCLAIMER}",
        "",
        "| Wanted | Measured | |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {one.target} | {one.measured} | {'met' if one.met else 'missed'} |" for one in verdicts]
    options.output_dir.mkdir(parents=True, exist_ok=True)
    (options.output_dir / "page.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"{about}; written: {options.output_dir / 'page.md'}", highlight=False)
    return 0 if all(one.met for one in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())

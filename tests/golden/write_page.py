"""Write the picture of the page that the README shows; needs a Chromium."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.running_service import running_service

if __name__ == "__main__":
    with running_service() as service, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 1100}, locale="en-GB")
        page.goto(service.url)
        page.click("#samples")
        page.locator("#clear").wait_for()
        page.click(".tile[data-id='2'] a")
        page.locator(".report[aria-busy='false']").wait_for()
        page.locator(".stage canvas").wait_for()
        page.wait_for_timeout(500)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=Path(__file__).parent / "page.jpg", type="jpeg", quality=80)
        browser.close()

"""One specimen from the order to the signature, by mouse and by keyboard."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from orchestrator.domain import DISCLAIMER
from tests.e2e.page.conftest import kept
from tests.running_service import PROJECT_ROOT, running_service

WAIT_MS = 60_000


def order(page: Page, files: list[Path], name: str, total: str = "") -> None:
    page.goto("/#/specimen")
    page.fill("#specimen-id", name)
    page.fill("#total-wbc", total)
    page.set_input_files("#view-specimen #files", [str(path) for path in files])
    page.click("#order")
    expect(page.locator("#counts")).to_be_visible()
    expect(page.locator("#specimen-bar")).to_have_count(0, timeout=WAIT_MS)


def counted(page: Page) -> dict[str, int]:
    """The column of counts by label."""
    rows = page.locator("#counts tbody tr")
    return {
        rows.nth(row).get_attribute("data-label") or "": int(rows.nth(row).locator("td").first.inner_text())
        for row in range(rows.count())
    }


@pytest.fixture
def hundred(cells: list[Path]) -> list[Path]:
    """102 cells; three are the sample of the page that goes to review."""
    doubtful = PROJECT_ROOT / "orchestrator" / "edge" / "web" / "samples" / "lymphocyte.jpg"
    return [cells[number % len(cells)] for number in range(99)] + [doubtful] * 3


def test_a_specimen_is_ordered_counted_reviewed_by_keyboard_signed_and_exported(
    page: Page, hundred: list[Path]
) -> None:
    order(page, hundred, "S-17", "6.2")
    before = counted(page)
    assert sum(before.values()) == 102
    expect(page.locator("#counts")).to_contain_text("10⁹/L")
    waiting = page.locator(".review-list .tile.review").count()
    assert waiting >= 3
    page.locator("#view-specimen h2").click()

    # Whatever comes first is a basophil now; then it is not any more.
    first = page.locator(".review-list a[aria-current]").get_attribute("aria-label")
    page.keyboard.press("1")
    expect(page.locator(".review-list .tile.review")).to_have_count(waiting - 1)
    assert counted(page)["Basophil"] == before["Basophil"] + 1
    page.keyboard.press("u")
    expect(page.locator(".review-list .tile.review")).to_have_count(waiting)
    assert counted(page) == before
    assert page.locator(".review-list a[aria-current]").get_attribute("aria-label") == first
    for left in range(waiting - 1, -1, -1):
        page.keyboard.press("Enter")
        expect(page.locator(".review-list .tile.review")).to_have_count(left)
    page.keyboard.press("s")
    page.click("#sign-yes")
    expect(page.locator("#view-specimen")).to_contain_text("Signed by local")
    expect(page.locator("#sign")).to_be_disabled()
    kept(page, "specimen_signed")

    for kind in ("csv", "json", "fhir"):
        with page.expect_download() as download:
            page.click(f"a[data-export='{kind}']")
        text = Path(download.value.path()).read_text(encoding="utf-8")
        assert DISCLAIMER in text
        if kind != "csv":
            assert json.loads(text)


def test_a_reclassified_cell_counts_as_what_the_person_said(page: Page, hundred: list[Path]) -> None:
    order(page, hundred, "S-18")
    before = counted(page)
    neutrophil = page.locator(".review-list .tile a", has_text="Neutrophil").first
    neutrophil.click()

    page.click("#as-Monocyte")

    expect(page.locator("#counts tr[data-label='Monocyte'] td").first).to_have_text(
        str(before["Monocyte"] + 1)
    )
    assert counted(page)["Neutrophil"] == before["Neutrophil"] - 1
    page.click("#undo")
    expect(page.locator("#counts tr[data-label='Monocyte'] td").first).to_have_text(str(before["Monocyte"]))
    page.locator("details", has_text="Audit trail").locator("summary").click()
    expect(page.locator(".trail li")).not_to_have_count(0)


def test_too_few_cells_give_counts_and_no_percentages(page: Page, cells: list[Path]) -> None:
    order(page, cells, "S-19")

    assert sum(counted(page).values()) == len(cells)
    expect(page.locator("#counts tbody tr").first).to_contain_text("–")
    expect(page.locator("#view-specimen")).to_contain_text("Fewer than 100 cells")


def test_a_specimens_address_opens_it_again_and_history_lists_it(page: Page, cells: list[Path]) -> None:
    order(page, cells, "S-20")
    address = page.url

    page.goto("/#/history")
    expect(page.locator("#view-history")).to_contain_text("S-20")
    page.goto("/")
    page.goto(address)
    page.reload()

    expect(page.locator("#view-specimen h2")).to_contain_text("S-20")
    assert sum(counted(page).values()) == len(cells)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_a_specimen(page: Page, cells: list[Path], theme: str) -> None:
    page.goto("/#/settings")
    page.select_option("#setting-theme", theme)
    page.select_option("#setting-language", "tr")
    order(page, cells, "S-21")
    page.locator(".review-list a").first.click()
    expect(page.locator("#review-detail .bars")).to_be_visible()

    found = Axe().run(page).response["violations"]

    assert [(one["id"], one["nodes"][0]["html"][:100]) for one in found] == []
    kept(page, f"specimen_tr_{theme}")


@pytest.fixture
def storeless(browser: Browser) -> Iterator[Page]:
    with running_service() as service:
        context = browser.new_context(base_url=service.url)
        yield context.new_page()
        context.close()


def test_without_a_store_the_page_says_how_to_have_one(storeless: Page, cells: list[Path]) -> None:
    storeless.goto("/#/specimen")
    storeless.fill("#specimen-id", "S-1")
    storeless.set_input_files("#view-specimen #files", str(cells[0]))

    storeless.click("#order")

    expect(storeless.get_by_role("alert").last).to_contain_text("WBC_STORE__URL")


@pytest.fixture
def guarded(browser: Browser, tmp_path: Path) -> Iterator[tuple[Page, str]]:
    """The page of a service that asks for keys, and a key."""
    keys = tmp_path / "keys.json"
    environment = {
        "WBC_SECURITY__API_KEYS_FILE": str(keys),
        "WBC_STORE__URL": f"sqlite:///{tmp_path}/wbc.db",
        "WBC_STORE__KEEP_IMAGES": "true",
    }
    command = [sys.executable, "-c", "from orchestrator.cli import main; main()", "keys", "create", "lab"]
    for role in ("analyse", "review", "sign", "admin"):
        command += ["--role", role]
    made = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (key,) = re.findall(r"wbc_\w+_[\w-]+", made.stdout)
    with running_service(environment=environment) as service:
        context = browser.new_context(base_url=service.url, accept_downloads=True)
        yield context.new_page(), key
        context.close()


def test_where_the_service_asks_for_a_key_the_page_takes_one_and_signs_by_its_name(
    guarded: tuple[Page, str], cells: list[Path]
) -> None:
    page, key = guarded
    page.goto("/#/settings")
    page.fill("#api-key", "wbc_wrong_key")
    page.locator("#api-key").blur()
    page.goto("/#/cells")
    page.set_input_files("#view-cells #files", str(cells[0]))
    expect(page.locator("#retry-failed")).to_be_visible()
    page.click(".tile a")
    expect(page.locator("#detail")).to_contain_text("key under Settings")

    page.goto("/#/settings")
    page.fill("#api-key", key)
    page.locator("#api-key").blur()
    order(page, cells, "S-30")
    address = page.url
    page.goto("/#/cells")
    page.goto(address)
    page.reload()
    page.click("#sign")
    page.click("#sign-yes")

    expect(page.locator("#view-specimen")).to_contain_text("Signed by key:lab")
    expect(page.locator("#review-detail .frame")).to_be_visible()
    with page.expect_download() as download:
        page.click("a[data-export='json']")
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["state"] == "signed"

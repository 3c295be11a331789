"""The audit of a microscope on the page: its plan, the blind labelling, the one look, the outcome."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from orchestrator.device_audits.audit import Audit, AuditCell, AuditFile
from tests.audited_cells import answer_of, cell_of, plan_of
from tests.e2e.page.conftest import LOOKS, choose, kept, violations
from tests.running_service import RunningService, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, cells: list[Path]) -> Iterator[RunningService]:
    """One with an audit of 99 cells, of which two have no label: a file that is there, one that is not."""
    audits = tmp_path_factory.mktemp("audits")
    audit, labels = Audit.of(plan_of()), {}
    for number in range(99):
        cell = cell_of(number, f"S-{number % 3}")
        if number == 0:
            sha256 = hashlib.sha256(cells[0].read_bytes()).hexdigest()
            cell = AuditCell(image_sha256=sha256, specimen="S-0", image=str(cells[0]))
        audit = audit.with_cell(cell, answer_of("Eosinophil"))
        if number > 1:
            labels[cell.image_sha256] = "Eosinophil"
    AuditFile(audits / "my-scope.json").create(audit.with_labels(labels))
    with running_service(environment={"WBC_AUDITS_DIR": str(audits)}) as service:
        yield service


def test_an_audit_is_followed_labelled_blind_by_keyboard_and_judged_once(page: Page) -> None:
    for language, theme in LOOKS:
        choose(page, language=language, theme=theme)
        page.goto("/#/audits")
        expect(page.locator("#audits tbody tr")).to_have_count(1)
        assert violations(page) == [], (language, theme)
    choose(page, language="en", theme="light")
    page.click("nav a[data-view='audits']")
    page.click("#audits a")
    expect(page.locator("#plan")).to_contain_text("90%")
    expect(page.locator("#labelling")).to_contain_text("97 of 99 cells have a label")
    expect(page.locator("#judge")).to_be_disabled()
    expect(page.locator(".disclaimer")).to_be_visible()
    # Nothing of the answers: no outcome, no probability, and no class but in the plan and on the buttons.
    expect(page.locator("#outcome")).to_have_count(0)
    expect(page.locator(".audited img, .audited p:not([role])")).to_have_count(1)
    assert "Eosinophil" not in page.locator("#audited-cell").inner_text()
    assert "Eosinophil" not in page.locator(".audited").inner_text()
    assert violations(page) == []
    kept(page, "audit_labelling")

    page.keyboard.press("2")
    expect(page.locator("#labelling")).to_contain_text("98 of 99 cells have a label")
    expect(page.locator("#audited-cell")).to_contain_text("No label yet")
    page.keyboard.press("2")
    expect(page.locator("#judge")).to_be_enabled()
    expect(page.locator("#label-Eosinophil")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.locator("#labelling")).to_contain_text("99 of 99 cells have a label")

    page.click("#judge")
    page.click("#judge-no")
    expect(page.locator("#outcome")).to_have_count(0)
    page.click("#judge")
    page.click("#judge-yes")
    expect(page.locator("#outcome tbody tr")).to_contain_text("released")
    expect(page.locator("#outcome tbody tr")).to_contain_text("97.02%")
    expect(page.locator("#judge")).to_have_count(0)
    expect(page.locator("#label-other")).to_have_count(0)
    assert violations(page) == []
    kept(page, "audit_outcome")

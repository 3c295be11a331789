"""A specimen of whole fields on the page: what lies in two of them, and what is not analysed anew."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from orchestrator.store.encryption import new_key
from tests.e2e.page.conftest import analysed
from tests.e2e.page.test_decisions import kept_document
from tests.integration.test_differentials_of_fields import again, painted
from tests.running_service import RunningService, running_service
from tests.synthetic_cells import image_file


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    environment = {
        "WBC_STORE__URL": f"sqlite:///{tmp_path_factory.mktemp('store')}/wbc.db",
        "WBC_STORE__ENCRYPTION_KEY": new_key(),
    }
    with running_service(environment=environment) as service:
        yield service


@pytest.fixture
def fields(page: Page, service: RunningService) -> dict[str, Any]:
    """The page of a specimen of two fields that overlap, all analysed."""
    field = painted(4)
    files = [("files", image_file(field)), ("files", again(field))]
    form = {"specimen_id": "S-fields", "kind": "field", "tta": "none"}
    ordered = httpx2.post(f"{service.url}/v1/differentials", files=files, data=form, timeout=60)
    assert ordered.status_code == 202, ordered.text
    page.goto(f"/#/specimen/{ordered.json()['id']}")
    analysed(page)
    return kept_document(page)


def test_a_cell_of_another_field_once_more_is_marked_and_nobody_is_asked_about_it(
    page: Page, fields: dict[str, Any]
) -> None:
    doubles = [cell["id"] for cell in fields["cells"] if cell["place"]["same_as"]]
    assert doubles

    page.keyboard.press("g")

    alone = page.locator("#gallery .group[data-group='none'] .tile")
    expect(alone).to_have_count(len(doubles))
    for one in alone.all():
        expect(one).to_contain_text("counted in another field")
        one.locator(".tile-pick").click()
    expect(page.locator("#gallery-picked")).to_have_text("")
    counting = [
        cell for cell in fields["cells"] if cell["place"]["is_identified"] and cell["id"] not in doubles
    ]
    offered = page.locator(".accept-group:visible").all_inner_texts()
    assert sum(int(text.split()[2]) for text in offered) == len(counting)
    page.locator(f"#gallery .tile[data-cell='{doubles[0]}'] a").click()
    expect(page.locator("#cell-head")).to_contain_text("counted in another field")
    expect(page.locator("#review-detail .decide")).to_be_hidden()
    expect(page.locator(".review-list .tile")).to_have_count(len(fields["review_list"]))


def test_a_cell_of_a_field_is_shown_as_it_was_found_and_not_analysed_anew(
    page: Page, fields: dict[str, Any]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    cell = next(cell for cell in fields["cells"] if cell["id"] == fields["review_list"][1])

    page.locator(f".review-list .tile[data-cell='{cell['id']}'] a").click()

    expect(page.locator("#cell-head")).to_contain_text(f"Cell {cell['number']} ")
    expect(page.locator("#detail-title")).to_have_text(cell["result"]["class"])
    expect(page.locator("#review-detail")).to_contain_text("The cell was analysed in its field")
    assert asked == []

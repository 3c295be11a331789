"""A specimen of whole fields on the page: what lies in two of them, and what is not analysed anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from orchestrator.store.encryption import new_key
from tests.e2e.page.conftest import analysed, kept, unheard, violations
from tests.e2e.page.test_decisions import kept_document
from tests.integration.test_differentials_of_fields import again, painted, with_a_missed_cell
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


@pytest.fixture
def missed(page: Page, service: RunningService) -> tuple[dict[str, Any], dict[str, float]]:
    """The page of a specimen of one field in which the service has missed a cell; and the box of that."""
    field, box = with_a_missed_cell()
    form = {"specimen_id": "S-missed", "kind": "field", "tta": "none"}
    files = [("files", image_file(field))]
    ordered = httpx2.post(f"{service.url}/v1/differentials", files=files, data=form, timeout=60)
    assert ordered.status_code == 202, ordered.text
    page.goto(f"/#/specimen/{ordered.json()['id']}")
    analysed(page)
    page.locator("#fields summary").click()
    return kept_document(page), box


def drag_a_box(page: Page, document: dict[str, Any], box: dict[str, float]) -> None:
    frame = page.locator("#fields .frame")
    frame.scroll_into_view_if_needed()
    place = frame.bounding_box()
    assert place is not None
    scale = place["width"] / document["fields"][0]["image_size"][1]
    page.mouse.move(place["x"] + box["left"] * scale, place["y"] + box["top"] * scale)
    page.mouse.down()
    page.mouse.move(place["x"] + box["right"] * scale, place["y"] + box["bottom"] * scale, steps=4)
    page.mouse.up()


def test_a_missed_cell_is_added_by_drawing_its_box_and_a_wrong_one_is_taken_out_in_the_field(
    page: Page, missed: tuple[dict[str, Any], dict[str, float]]
) -> None:
    before, box = missed
    boxes = page.locator("#fields .stage .box")
    expect(boxes).to_have_count(len(before["cells"]))
    counted = page.locator("#specimen-progress")
    expect(counted).to_contain_text(f"{before['progress']['counted']} of {before['progress']['total']}")

    page.click("#draw-cell")
    drag_a_box(page, before, box)
    kept(page, "field-drawing")
    page.click("#add-cell")

    expect(boxes).to_have_count(len(before["cells"]) + 1)
    document = kept_document(page)
    added = document["cells"][-1]
    assert added["place"]["added_by"] == "local"
    assert all(abs(added["result"]["box"][edge] - box[edge]) < 3 for edge in box)
    expect(page.locator("#cell-head")).to_contain_text(f"Cell {added['number']}")
    expect(boxes.locator("visible=true").last).to_have_class("box doubtful chosen")
    expect(counted).to_contain_text(
        f"{before['progress']['counted'] + 1} of {before['progress']['total'] + 1}"
    )
    expect(page.locator("#draw-cell")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#review-detail .frame img")).to_be_visible()

    page.locator("#no-cell").click()

    after = kept_document(page)
    assert after["cells"][-1]["decision"]["label"] == "Artefact"
    assert after["progress"]["counted"] == before["progress"]["counted"]
    expect(boxes.last).to_contain_text("Artefact")
    page.locator("details:has(.trail) summary").click()
    expect(page.locator(".trail")).to_contain_text(f"local · added · Cell {added['number']}")
    assert violations(page) == []


def test_a_cell_is_added_by_the_keyboard_alone_and_where_one_lies_already_it_is_said(
    page: Page, missed: tuple[dict[str, Any], dict[str, float]]
) -> None:
    before, _ = missed
    page.locator("#draw-cell").press("Enter")
    expect(page.locator("#fields .frame")).to_be_focused()
    draft = page.locator("#fields .draft")
    width, middle = (float(draft.get_attribute(name) or 0) for name in ("width", "x"))

    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    assert float(draft.get_attribute("width") or 0) < width
    assert float(draft.get_attribute("x") or 0) > middle
    page.keyboard.press("Enter")

    expect(page.locator("#fields .stage .box")).to_have_count(len(before["cells"]) + 1)
    expect(page.locator("#review-detail")).to_be_focused()
    taken = next(cell for cell in before["cells"] if cell["result"]["box"])
    page.click("#draw-cell")
    drag_a_box(page, before, taken["result"]["box"])
    page.click("#add-cell")
    expect(page.locator("#fields .problem")).to_contain_text(
        f"Cell {taken['number']} of this field lies there"
    )
    page.keyboard.press("Escape")
    expect(page.locator("#add-cell")).to_be_hidden()


def test_what_a_colleague_changed_meanwhile_refuses_the_box_and_a_signed_specimen_offers_none(
    page: Page, service: RunningService, missed: tuple[dict[str, Any], dict[str, float]]
) -> None:
    before, box = missed
    unheard(page)
    where = f"{service.url}/v1/differentials/{before['id']}"
    decision = f"{where}/cells/{before['cells'][0]['id']}/decision"
    assert httpx2.post(decision, json={"label": "Monocyte"}, timeout=60).status_code == 200

    page.click("#draw-cell")
    drag_a_box(page, before, box)
    page.click("#add-cell")

    expect(page.locator("#fields .problem")).to_contain_text("changed since it was read")
    expect(page.locator("#fields .stage .box").first).to_contain_text("Monocyte")
    page.click("#add-cell")
    expect(page.locator("#fields .stage .box")).to_have_count(len(before["cells"]) + 1)
    page.click("#sign")
    page.locator("dialog .primary").click()
    expect(page.locator("#signed")).to_be_visible()
    expect(page.locator("#draw-cell")).to_be_hidden()
    expect(page.locator("#no-cell")).to_be_hidden()


def test_what_a_colleague_adds_and_writes_while_the_question_is_asked_is_not_signed_unseen(
    page: Page, service: RunningService, missed: tuple[dict[str, Any], dict[str, float]]
) -> None:
    before, box = missed
    where = f"{service.url}/v1/differentials/{before['id']}"
    page.click("#sign")
    added = httpx2.post(f"{where}/fields/{before['fields'][0]['id']}/cells", json=box, timeout=60)
    httpx2.post(f"{where}/comments", json={"text": "One was missed."}, timeout=60).raise_for_status()
    told = (
        f"Cell {added.json()['cells'][-1]['number']} was added meanwhile by local. "
        "local has written a comment meanwhile."
    )
    expect(page.locator("#others")).to_contain_text("written a comment meanwhile.")

    page.click("#sign-yes")

    expect(page.locator("#view-specimen .problem").first).to_contain_text(f"It is not signed. {told}")
    assert kept_document(page)["state"] == "analysed"


def test_in_a_field_without_white_cells_the_first_box_goes_by_the_red_ones(
    page: Page, service: RunningService
) -> None:
    form = {"specimen_id": "S-none", "kind": "field", "tta": "none"}
    files = [("files", image_file(painted(6, ())))]
    ordered = httpx2.post(f"{service.url}/v1/differentials", files=files, data=form, timeout=60)
    page.goto(f"/#/specimen/{ordered.json()['id']}")
    page.locator("#fields summary").click()
    red_cell_px = kept_document(page)["fields"][0]["red_cell_px"]
    assert red_cell_px

    page.click("#draw-cell")

    width = float(page.locator("#fields .draft").get_attribute("width") or 0)
    assert width == pytest.approx(2 * red_cell_px)


def test_fields_are_ordered_from_the_page_and_fill_the_gallery(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    path.write_bytes(image_file(painted(4)))
    page.goto("/#/specimen")
    page.fill("#specimen-id", "S-page")
    page.check("#kind-field")
    page.set_input_files("#files", str(path))
    page.click("#order:enabled")
    analysed(page)

    document = kept_document(page)
    assert document["kind"] == "field"
    page.keyboard.press("g")
    expect(page.locator("#gallery .tile")).to_have_count(len(document["cells"]))
    assert len(document["cells"]) == 3

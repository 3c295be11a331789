"""Small copies of images, as tiles and printed reports show them."""

import pytest
from playwright.sync_api import Page

CORNERS = """async ([part, paint]) => {
    const {smallAddress} = await import("/web/lazy_image.js");
    const canvas = new OffscreenCanvas(200, 100);
    const context = canvas.getContext("2d");
    context.fillStyle = "rgb(200, 40, 40)";
    context.fillRect(0, 0, 200, 100);
    if (paint === "hole") context.clearRect(90, 40, 20, 20);
    const blob = await canvas.convertToBlob({type: "image/png"});
    const shown = new Image();
    shown.src = await smallAddress(blob, part);
    await shown.decode();
    const read = new OffscreenCanvas(shown.width, shown.height).getContext("2d");
    read.drawImage(shown, 0, 0);
    const at = (x, y) => [...read.getImageData(x * (shown.width - 1), y * (shown.height - 1), 1, 1).data];
    return [at(0, 0), at(1, 0), at(0, 1), at(1, 1), at(0.5, 0.5)];
}"""


@pytest.mark.parametrize(
    ("left", "top", "clear"),
    [
        (80, 20, [False, False, False, False]),
        (-30, 20, [True, False, True, False]),
        (80, -30, [True, True, False, False]),
        (170, 20, [False, True, False, True]),
        (80, 70, [False, False, True, True]),
    ],
    ids=["within", "left", "above", "right", "below"],
)
def test_what_lies_beyond_any_edge_of_the_image_is_clear_and_not_black(
    page: Page, left: int, top: int, clear: list[bool]
) -> None:
    corners = page.evaluate(CORNERS, [{"left": left, "top": top, "side": 60}, "whole"])[:4]
    assert [corner[3] == 0 for corner in corners] == clear
    for corner, is_clear in zip(corners, clear, strict=True):
        assert is_clear or corner[0] > 150


def test_what_is_transparent_within_the_image_lies_on_white(page: Page) -> None:
    middle = page.evaluate(CORNERS, [{"left": 70, "top": 20, "side": 60}, "hole"])[4]
    assert min(middle) > 230

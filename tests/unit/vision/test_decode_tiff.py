"""Every kind of TIFF gives the pixels that were written, or is refused by its kind; none gives others."""

import itertools
import struct

import cv2
import numpy as np
import pytest

from orchestrator.errors import ImageTooLarge, InvalidImage, UndecodableImage, UnsupportedImage
from orchestrator.vision.decode import DecodeLimits, decode
from tests.synthetic_cells import synthetic_cell
from tests.tiff_files import DEFLATE, JPEG, LZW, NONE, PACKBITS, pyramid_of, tiff_of

HEIGHT, WIDTH = 21, 35  # neither whole strips nor whole tiles
CELL = cv2.GaussianBlur(synthetic_cell("Monocyte", seed=3, size=64)[:HEIGHT, :WIDTH], (0, 0), 2.0)
RAMP = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
COLOURS = {
    "white is zero": (0, 1), "black is zero": (1, 1), "rgb": (2, 3), "rgba": (2, 4),
    "palette": (3, 1), "ycbcr": (6, 3), "cmyk": (5, 4),
}  # fmt: skip
DEPTHS = {
    "1": (1, 1),
    "2": (2, 2),
    "4": (4, 4),
    "8": (8, 8),
    "12": (12, 12),
    "12 in 16": (16, 12),
    "16": (16, 16),
    "32": (32, 32),
}
COMPRESSIONS = {"none": NONE, "lzw": LZW, "deflate": DEFLATE, "packbits": PACKBITS, "jpeg": JPEG}


def samples_of(colours: str, bits: int) -> np.ndarray:
    """Unsigned ``[21, 35, samples]`` with values of ``bits`` bits, of a picture with both ends of the
    range."""
    _, count = COLOURS[colours]
    picture = np.dstack([CELL, RAMP, 255 - RAMP])[..., : max(count, 3)].astype(float)
    if count == 1:
        picture = RAMP[..., np.newaxis]
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.round(picture[..., :count] * ((1 << bits) - 1) / 255).astype(kind)


def palette_of(bits: int) -> np.ndarray:
    """Values of 16 bits ``[3, 2 ** bits]``."""
    steps = np.linspace(0, 65_535, 1 << bits)
    return np.stack([steps, steps[::-1], np.roll(steps, 1)]).astype(np.uint16)


def expected_of(samples: np.ndarray, colours: str, bits: int) -> np.ndarray:
    """What a person would see, as numbers from 0 to 255."""
    if colours == "palette":
        return palette_of(bits)[:, samples[..., 0]].transpose(1, 2, 0) / 257
    seen = samples.astype(float) * 255 / ((1 << bits) - 1)
    if colours == "cmyk":
        return (255 - seen[..., :3]) * (255 - seen[..., 3:]) / 255
    if colours == "rgba":
        return (seen[..., :3] * seen[..., 3:] + 255 * (255 - seen[..., 3:])) / 255
    if colours == "ycbcr":
        return cv2.cvtColor(seen[..., [0, 2, 1]].astype(np.uint8), cv2.COLOR_YCrCb2RGB).astype(float)
    return np.repeat(255 - seen if colours == "white is zero" else seen, 3 // seen.shape[-1], axis=-1)


def is_read(depth: int, compression: str, colours: str, planar: bool) -> bool:
    if compression == "jpeg":
        return depth == 8 and colours not in ("palette", "rgba") and not (colours == "ycbcr" and planar)
    return depth != 32 and colours != "ycbcr" and not (colours == "palette" and depth > 8)


@pytest.mark.parametrize("depth_name", DEPTHS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("colours", COLOURS)
def test_a_tiff_gives_what_was_written_or_says_that_its_kind_is_not_read(depth_name, compression, colours):
    depth, bits = DEPTHS[depth_name]
    photometric, _ = COLOURS[colours]
    samples = samples_of(colours, bits)
    tags = {281: ("H", [4095])} if bits < depth else {}
    if colours == "palette" and depth <= 16:
        tags[320] = ("H", palette_of(bits).ravel().tolist())
    if colours == "rgba":
        tags[338] = ("H", [2])
    predictors = (False, True) if compression in ("lzw", "deflate") and depth in (8, 16) else (False,)
    for planar, order, tiled, predictor in itertools.product((False, True), "<>", (False, True), predictors):
        payload = tiff_of(
            samples, depth, photometric, compression=COMPRESSIONS[compression], planar=planar,
            byte_order=order, tiled=tiled, predictor=predictor, big=order == ">" and tiled, tags=tags,
        )  # fmt: skip
        told = (planar, order, tiled, predictor)
        if is_read(depth, compression, colours, planar):
            difference = np.abs(decode(payload).rgb - expected_of(samples, colours, bits)).max()
            assert difference <= (8 if compression == "jpeg" else 1.01), told
        else:
            with pytest.raises(UnsupportedImage, match="read are grey, palette, RGB and CMYK"):
                decode(payload)


RGB = samples_of("rgb", 8)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_jpegs_that_share_their_tables_are_read(tiled, planar):
    payload = tiff_of(RGB, 8, 2, compression=JPEG, planar=planar, tiled=tiled, shared_tables=True)
    assert payload.count(b"\xff\xdb") < 5  # a table for all blocks
    assert np.abs(decode(payload).rgb.astype(int) - RGB).max() <= 8


@pytest.mark.parametrize("predictor", [2, 3])
def test_differences_that_readers_do_not_agree_on_are_refused_and_no_garbage(predictor):
    payload = tiff_of(RGB, 8, 2, compression=PACKBITS, predictor=True, tags={317: ("H", [predictor])})
    with pytest.raises(UnsupportedImage, match="its predictor"):
        decode(payload)


@pytest.mark.parametrize("compression", [NONE, JPEG])
def test_a_predictor_that_no_reader_looks_at_changes_nothing(compression):
    plain = decode(tiff_of(RGB, 8, 2, compression=compression)).rgb
    told = tiff_of(RGB, 8, 2, compression=compression, tags={317: ("H", [2])})
    np.testing.assert_array_equal(decode(told).rgb, plain)


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_bits_that_are_stored_the_other_way_round_are_read(compression):
    np.testing.assert_array_equal(decode(tiff_of(RGB, 8, 2, compression=compression, fill_order=2)).rgb, RGB)


def test_colours_that_alpha_is_multiplied_into_are_not_multiplied_again():
    premultiplied = np.array([[[50, 0, 100, 100], [0, 0, 0, 0]]], np.uint8)
    rgb = decode(tiff_of(premultiplied, 8, 2, tags={338: ("H", [1])})).rgb
    np.testing.assert_array_equal(rgb, [[[205, 155, 255], [255, 255, 255]]])


def test_an_extra_sample_that_means_nothing_is_not_looked_at():
    filled = np.dstack([RGB, np.zeros((HEIGHT, WIDTH), np.uint8)])
    np.testing.assert_array_equal(decode(tiff_of(filled, 8, 2, tags={338: ("H", [0])})).rgb, RGB)


def test_a_palette_of_eight_bits_where_sixteen_belong_is_not_black():
    palette = (palette_of(8) >> 8).ravel().tolist()
    samples = samples_of("palette", 8)
    rgb = decode(tiff_of(samples, 8, 3, tags={320: ("H", palette)})).rgb
    assert np.abs(rgb - expected_of(samples, "palette", 8)).max() <= 1


def reduced(kind: tuple[int, int]) -> bytes:
    """A directory of one pixel at the file's start, marked by this tag and value."""
    tags = {256: 1, 257: 1, 258: 8, 262: 1, 273: 8, 279: 1, kind[0]: kind[1]}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<H", len(tags)) + entries + bytes(4)


class TestPages:
    @pytest.mark.parametrize("kind", [(254, 1), (254, 5), (254, 4), (255, 2)])
    def test_reduced_copies_and_masks_are_no_pages(self, kind):
        np.testing.assert_array_equal(decode(tiff_of(RGB, 8, 2, following=reduced(kind))).rgb, RGB)

    def test_the_page_that_is_no_copy_is_read_wherever_it_stands(self):
        payload = tiff_of(RGB, 8, 2, tags={254: ("I", [1])}, following=reduced((254, 0)))
        assert decode(payload).rgb.shape == (1, 1, 3)

    def test_a_lone_page_is_read_whatever_it_says_of_itself(self):
        np.testing.assert_array_equal(decode(tiff_of(RGB, 8, 2, tags={254: ("I", [1])})).rgb, RGB)

    @pytest.mark.parametrize("kind", [(254, 0), (254, 2), (255, 1), (255, 3)])
    def test_a_second_page_is_refused(self, kind):
        with pytest.raises(UnsupportedImage, match="more than one page"):
            decode(tiff_of(RGB, 8, 2, following=reduced(kind)))

    @pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, JPEG])
    @pytest.mark.parametrize("big", [False, True])
    def test_of_a_pyramid_of_tiles_the_whole_image_is_read(self, compression, big):
        payload = pyramid_of(RGB, RGB[::2, ::2], compression=compression, big=big)
        rgb = decode(payload, DecodeLimits(max_pixels=HEIGHT * WIDTH)).rgb
        assert rgb.shape == RGB.shape
        assert np.abs(rgb.astype(int) - RGB).max() <= (8 if compression == JPEG else 0)

    def test_of_a_pyramid_that_is_too_large_no_reduced_copy_is_read_in_its_place(self):
        limits = DecodeLimits(max_pixels=HEIGHT * WIDTH - 1)
        with pytest.raises(ImageTooLarge, match=r"35 x 21 pixels.*reduced copies .* send a part of it"):
            decode(pyramid_of(RGB, RGB[::2, ::2]), limits)
        with pytest.raises(ImageTooLarge) as alone:
            decode(tiff_of(RGB, 8, 2), limits)
        assert "reduced" not in str(alone.value)

    def test_of_levels_that_are_not_marked_none_is_guessed_to_be_the_image(self):
        with pytest.raises(UnsupportedImage, match=r"not marked as a reduced copy .NewSubfileType."):
            decode(pyramid_of(RGB, RGB[::2, ::2], kind=0))

    def test_pages_in_a_circle_end(self):
        copy = reduced((254, 1))
        payload = tiff_of(RGB, 8, 2, following=copy)
        circle = payload[:-4] + struct.pack("<I", len(payload) - len(copy))
        with pytest.raises(UnsupportedImage, match="more than 64 pages"):
            decode(circle)


class TestFewerBitsThanTheDepth:
    @pytest.mark.parametrize(("most", "bits"), [(1023, 10), (4095, 12), (3900, 12), (16_383, 14)])
    def test_the_highest_value_says_how_many_bits_count(self, most, bits):
        samples = samples_of("rgb", bits)
        samples = np.minimum(samples, most)
        rgb = decode(tiff_of(samples, 16, 2, tags={281: ("H", [most])})).rgb
        assert np.abs(rgb - samples.astype(float) * 255 / ((1 << bits) - 1)).max() <= 0.51

    @pytest.mark.parametrize("photometric", [0, 1, 2])
    def test_twelve_bits_that_nobody_tells_are_refused_and_not_read_as_night(self, photometric):
        samples = samples_of("rgb", 12)[..., : 3 if photometric == 2 else 1]
        with pytest.raises(UnsupportedImage, match="MaxSampleValue"):
            decode(tiff_of(samples, 16, photometric))

    def test_a_highest_value_that_is_none_is_refused(self):
        with pytest.raises(UnsupportedImage, match="MaxSampleValue"):
            decode(tiff_of(samples_of("rgb", 16), 16, 2, tags={281: ("H", [4095])}))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_a_tiff_that_is_cut_anywhere_is_an_error(compression, big):
    payload = tiff_of(RGB[:9, :9], 8, 2, compression=compression, big=big)
    for length in range(0, len(payload), 7):
        with pytest.raises(InvalidImage):
            decode(payload[:length])


def test_one_block_that_is_too_short_is_not_filled_from_the_next():
    payload = tiff_of(RGB, 8, 2, tags={279: ("I", [1])})
    counts = struct.pack("<3I", *[8 * WIDTH * 3] * 2, 5 * WIDTH * 3)
    assert payload.count(counts) == 1
    with pytest.raises(UndecodableImage, match="fewer pixels"):
        decode(payload.replace(counts, struct.pack("<3I", 8 * WIDTH * 3, 8 * WIDTH * 3 - 1, 5 * WIDTH * 3)))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({259: ("H", [34712])}, "JPEG 2000"),
        ({259: ("H", [50000])}, "Zstandard"),
        ({259: ("H", [6])}, "old-style JPEG"),
        ({262: ("H", [8])}, r"L\*a\*b\*"),
        ({262: ("H", [32803])}, "raw sensor"),
        ({339: ("H", [3, 3, 3])}, "floating point"),
        ({258: ("H", [5, 6, 5])}, "5, 6 bits"),
        ({262: ("H", [5]), 332: ("H", [2])}, "inks"),
    ],
)
def test_what_is_not_read_is_named(tags, said):
    with pytest.raises(UnsupportedImage, match=said):
        decode(tiff_of(RGB, 8, 2, tags=tags))

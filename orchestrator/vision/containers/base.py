"""What every container reader answers and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field

SizeCheck = Callable[[int, int], None]
"""Called with width and height as soon as they are known; raises where the image may not be decoded."""


@dataclass(frozen=True, slots=True)
class ImageContainer:
    """One whole image, not yet decoded.

    ``data`` is a file of the same format without metadata. ``orientation`` is the EXIF orientation, 1
    to 8. ``transparent_rgb`` is the colour key of a PNG at 8 bits. ``max_value`` is the value of full
    brightness of a grey image with more than 8 bits, ``white_is_zero`` whether it is inverted.
    ``needs_probe`` says that only a second decoding can tell whether the pixel data are complete.
    """

    media_type: str
    width: int
    height: int
    data: bytes = field(repr=False)
    orientation: int = 1
    transparent_rgb: tuple[int, int, int] | None = None
    max_value: int = 255
    white_is_zero: bool = False
    needs_probe: bool = False

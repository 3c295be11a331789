"""What every container reader answers and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.vision.native_pixels import NativeLayout
from orchestrator.vision.tiff_pixels import TiffLayout

SizeCheck = Callable[[int, int], None]
"""Called with width and height as soon as they are known; raises where the image may not be decoded."""


@dataclass(frozen=True, slots=True)
class ImageContainer:
    """One whole image, not yet decoded.

    ``data`` is a file of the same format without metadata. ``orientation`` is the EXIF orientation, 1
    to 8. ``transparent_rgb`` is the colour key of a PNG at 8 bits. ``max_value`` is the value of full
    brightness of a grey image with more than 8 bits.
    ``needs_probe`` says that only a second decoding can tell whether the pixel data are complete.

    Of a TIFF ``data`` is the file and ``tiff`` says where in it the pixels lie. ``is_deep``: values have 16
    bits.

    Of a format that wraps others, ``data`` is what it wraps: a file of the type ``wrapped``, or the pixels
    themselves, which lie there as ``native`` says. ``inverted``: the colours are to be turned round.

    ``is_lossy``: the pixels were compressed with losses.
    """

    media_type: str
    width: int
    height: int
    data: bytes = field(repr=False)
    orientation: int = 1
    transparent_rgb: tuple[int, int, int] | None = None
    max_value: int = 255
    needs_probe: bool = False
    wrapped: str | None = None
    native: NativeLayout | None = None
    inverted: bool = False
    tiff: TiffLayout | None = None
    is_deep: bool = False
    is_lossy: bool = False

    @property
    def codec(self) -> str:
        """The media type of ``data``."""
        return self.wrapped or self.media_type

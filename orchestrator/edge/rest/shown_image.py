"""A kept image as a page may show it."""

import asyncio
from typing import Final

from starlette.responses import Response

from orchestrator.errors import InvalidImage
from orchestrator.vision.containers import is_dicom, read_container
from orchestrator.vision.decode import DecodeLimits, decode
from orchestrator.vision.png import write_png

_ANY_PIXELS: Final = 2**31
"""What was kept was held against the limits when it came."""

_MOST_DECODED_PIXELS: Final = 89_478_485
"""Of a DICOM file, which is decoded here: a quarter of a GiB of RGB; more Pillow takes for an attack."""


async def image_response(payload: bytes) -> Response:
    """The answer with an image. Raises as :func:`shown_image`."""
    # The bytes are somebody else's: their type is what they are, and no browser runs anything in them.
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox"}
    shown, media_type = await asyncio.to_thread(shown_image, payload)
    if media_type is None:
        media_type = "application/octet-stream"
        headers["Content-Disposition"] = "attachment"
    return Response(shown, media_type=media_type, headers=headers)


def shown_image(payload: bytes) -> tuple[bytes, str | None]:
    """The bytes as they are, and their media type; None where they are no image.

    Of a DICOM file only the pixels, as PNG: its header names the patient, and no browser knows it.

    Raises :class:`~orchestrator.errors.InvalidImage` where a DICOM file cannot be decoded.
    """
    if is_dicom(payload):
        limits = DecodeLimits(max_bytes=len(payload), max_pixels=_MOST_DECODED_PIXELS)
        return write_png(decode(payload, limits).rgb), "image/png"
    try:
        return payload, read_container(payload, _ANY_PIXELS).media_type
    except InvalidImage:
        return payload, None

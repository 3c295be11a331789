"""Images that come after what a caller says of them all, one a message."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from orchestrator.edge.grpc.calls import Call
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.spool import Growing, Spool, Spooled
from orchestrator.errors import ImageTooLarge, MalformedUpload, UploadTooLarge

Part = TypeVar("Part")


async def received_images(
    call: Call[Part, Any],
    announced: int,
    limits: OrderLimits,
    max_bytes: int,
    image_of: Callable[[Part], bytes],
) -> Sequence[bytes]:
    """Exactly as many as were announced, of at most ``max_bytes`` each: a caller who goes away may seem to
    have sent all of them. ``image_of`` gives the image of a message that has one in its part ``image``.

    Raises:
        MalformedUpload: a message is no image, or they are more or fewer.
        ImageTooLarge, UploadTooLarge: one is, or all are.
    """
    spool, images, total = Spool(), list[Growing](), 0
    if announced > limits.max_files:
        raise UploadTooLarge(f"There are more than {limits.max_files} images.")
    while (part := await call.receive()) is not None:
        if part.WhichOneof("part") != "image":  # type: ignore[attr-defined]  # of any message of protobuf
            raise MalformedUpload("After the first message every other must be an image.")
        if len(images) == announced:
            raise MalformedUpload(f"There are more than the {announced} images that were announced.")
        image = image_of(part)
        if len(image) > max_bytes:
            raise ImageTooLarge(f"An image is too large; at most {max_bytes} bytes are accepted.")
        total += len(image)
        if total > limits.max_total_bytes:
            raise UploadTooLarge(
                f"The images together are too large; at most {limits.max_total_bytes} bytes are accepted."
            )
        images.append(Growing(spool))
        await asyncio.to_thread(images[-1].write, image)
    if len(images) < announced:
        raise MalformedUpload(f"{announced} images were announced, and {len(images)} came.")
    return Spooled(images)

"""Cells as the served model sees them, and where labelled ones come from."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from orchestrator import image_steps
from orchestrator.analyse import Services
from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import CellViews, Float32Array, ModelIdentity
from orchestrator.errors import (
    AdaptationRefused,
    InvalidImage,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
    UnsupportedImage,
)
from orchestrator.labels import LABELS
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.observability.request_context import set_request_id
from orchestrator.profiles import Profile
from orchestrator.store.base import Store
from orchestrator.vision import tta

CONCURRENCY: Final = 4
"""Images that are looked at side by side."""

CELL_TIMEOUT_S: Final = 60.0
"""For one image, with the pauses in which a model server that is busy or away is waited for."""

FIRST_PAUSE_S: Final = 0.5
"""Each pause is twice as long as the one before it."""


@dataclass(frozen=True, slots=True)
class SeenCell:
    """One cell as ``model`` sees its eight views, without any site's head: ``features`` float32 ``[8, F]``,
    ``logits`` float32 ``[8, 5]``; ``image_sha256`` is hex, of the file."""

    features: Float32Array
    logits: Float32Array
    image_sha256: str
    model: ModelIdentity


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image that is read when its turn comes, the class of its cell (of ``CLASS_NAMES``; None where nobody
    has said it), what must stay together (specimen, else slide; None: the image alone), and its name for a
    person."""

    read: Callable[[], Awaitable[bytes]]
    class_index: int | None
    group: str | None
    name: str


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """A cell, its class (of ``CLASS_NAMES``), what must stay together (specimen, else slide, else the image),
    and its name for a person."""

    seen: SeenCell
    class_index: int
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that could not be looked at, and why."""

    name: str
    error: InvalidImage | OSError


async def look(payload: bytes, services: Services, profile: Profile) -> SeenCell:
    """One image as the model sees it.

    Raises as :func:`orchestrator.analyse.analyse`.
    """
    prepared = await services.images.run(
        image_steps.prepare, payload, profile.recipe, services.decode_limits, profile.quality
    )
    question = CellViews(prepared.pixels, tta.CODES["light"], prepared.morphometry)
    prediction = await services.model_server.classify(question)
    return SeenCell(
        prediction.features, prediction.logits, hashlib.sha256(payload).hexdigest(), prediction.model
    )


async def look_at_all(
    images: Sequence[LabelledImage],
    services: Services,
    profile: Profile,
    looked: Callable[[], None] = lambda: None,
    *,
    first_pause_s: float = FIRST_PAUSE_S,
) -> list[SeenCell | FailedImage]:
    """What the model sees of each, some side by side; ``looked`` is called after each. A model server that is
    busy or away is asked again, within the deadline and :data:`CELL_TIMEOUT_S`.

    Raises as :func:`orchestrator.analyse.analyse`, but for what is wrong with one image.
    """
    limit = asyncio.Semaphore(CONCURRENCY)

    async def one(image: LabelledImage) -> SeenCell | FailedImage:
        # A name could be on trial: what a canary sees teaches nothing of the model that stays.
        set_request_id("")
        async with limit:
            try:
                payload = await image.read()
                with deadline(CELL_TIMEOUT_S):
                    return await _looked_patiently(payload, services, profile, first_pause_s)
            except (InvalidImage, OSError) as error:
                return FailedImage(image.name, error)
            finally:
                looked()

    looking = [asyncio.create_task(one(image)) for image in images]
    try:
        return list(await asyncio.gather(*looking))
    finally:
        for task in looking:  # of no effect where all have ended
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


async def _looked_patiently(payload: bytes, services: Services, profile: Profile, pause_s: float) -> SeenCell:
    while True:
        try:
            return await look(payload, services, profile)
        except (Overloaded, ModelServerUnavailable, ModelServerTimeout) as error:
            pause_s = max(pause_s, error.retry_after_s) if isinstance(error, Overloaded) else pause_s
            if (left_s := remaining_s()) is not None and left_s <= pause_s:
                raise
        await asyncio.sleep(pause_s)
        pause_s *= 2


def labelled(
    images: Sequence[LabelledImage], seen: Sequence[SeenCell | FailedImage]
) -> tuple[list[LabelledCell], list[FailedImage]]:
    """The cells of those images that have a label, and the images that could not be looked at."""
    cells = [
        LabelledCell(cell, image.class_index, image.group or f"image {cell.image_sha256}", image.name)
        for image, cell in zip(images, seen, strict=True)
        if isinstance(cell, SeenCell) and image.class_index is not None
    ]
    return cells, [cell for cell in seen if isinstance(cell, FailedImage)]


async def signed_images(ids: Sequence[str], store: Store | None) -> list[LabelledImage]:
    """What people decided in signed differentials of an open store.

    Raises :class:`~orchestrator.errors.AdaptationRefused` where there is no store, or one is not signed, and
    as :class:`~orchestrator.store.base.Store`. An image that is not kept is told when it is read, alike; so
    is, as one image, how many cells of fields are left out.
    """
    if store is None and ids:
        raise AdaptationRefused("Signed differentials are in a store, and there is none: set WBC_STORE__URL.")
    found = []
    for differential_id in ids:
        assert store is not None
        specimen = await store.checked(differential_id)
        if specimen.state != "signed":
            raise AdaptationRefused(f"Differential {differential_id} is not signed.")
        of_fields = 0
        for cell in specimen.cells:
            class_name = None if cell.decision is None else LABELS.class_of(cell.decision.label)
            if class_name is None:
                continue  # the service's own word teaches it nothing
            if cell.place is not None:
                of_fields += 1
                continue
            found.append(
                LabelledImage(
                    partial(_kept, store, differential_id, cell.cell_id),
                    CLASS_NAMES.index(class_name),
                    specimen.order.specimen_id,
                    f"{differential_id} cell {cell.number}",
                )
            )
        if of_fields:
            found.append(LabelledImage(partial(_left_out, of_fields), None, None, differential_id))
    return found


async def _left_out(of_fields: int) -> bytes:
    """Raises what a person is told of cells whose picture holds more than them."""
    raise UnsupportedImage(
        f"Cells of fields that were left out: {of_fields}. Each was cut out with its neighbours, and one of "
        "them could be taken for it."
    )


async def _kept(store: Store, differential_id: str, cell_id: str) -> bytes:
    payload = await store.image(differential_id, cell_id)
    if payload is None:
        raise AdaptationRefused(
            f"The images of differential {differential_id} were not kept; set WBC_STORE__KEEP_IMAGES=always "
            "before the next specimen."
        )
    return payload

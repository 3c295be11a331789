"""A microscope's own heads over HTTP: learnt from labelled images, looked at, switched on, rolled back.

Like folders of labelled images, fields of a form tell class and specimen: ``S-1/Neutrophil``. What the files
are called is dropped, as everywhere.
"""

import asyncio
import re
from functools import partial
from typing import Annotated, Final

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import errors
from orchestrator.adaptation.cells import LabelledImage
from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import Services
from orchestrator.documents.adaptation import HeadList, LearntHead, SuggestedCells
from orchestrator.edge.access.needs import READ, SIGN, TEACH
from orchestrator.edge.http.access import acting_person
from orchestrator.edge.http.bodies import json_schema, read_json
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.uploads import FILES_FIELD, UploadLimits, Uploads, read_uploads
from orchestrator.edge.orders import MAX_REASON, MAX_SIGNED, SPECIMEN_NAME, OrderLimits, wanted_of
from orchestrator.edge.spool import MEMORY_BYTES
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.site_head.registry import MAX_SHARE, USUAL_SHARE

PATH: Final = "/v1/profiles/{profile}/adaptations"

_CLASSES: Final = "|".join(CLASS_NAMES)
_LABELLED: Final = re.compile(rf"(?P<held>holdout/)?(?:(?P<specimen>[^/]+)/)?(?P<label>{_CLASSES})")
_ANY: Final = re.compile(rf"{FILES_FIELD}|{_LABELLED.pattern}")

_Profile = Annotated[str, Path(min_length=1, max_length=64, description="`GET /v1/model` lists them.")]
_Number = Annotated[int, Path(ge=1, le=99999, description="Of the head, as `GET` tells it.")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SignedBody(_Body):
    """Ids of signed differentials whose images were kept: what people decided there teaches."""

    signed: list[str] = Field(min_length=1, max_length=MAX_SIGNED)
    holdout: list[str] = Field(
        default=[], max_length=MAX_SIGNED, description="Others, which are scored and never learnt from."
    )
    cells_of: Annotated[int, Field(ge=1, le=99999)] | None = Field(
        default=None, description="Of a head whose kept cells are learnt from, too."
    )


class ReasonBody(_Body):
    """Why; needed to switch on a head that was not shown to be better."""

    reason: str = Field(default="", max_length=MAX_REASON)


class CanaryBody(ReasonBody):
    """The head that is to answer for a share, how large that is, and why."""

    number: Annotated[int, Field(ge=1, le=99999)] | None = Field(
        description="Of the head, as `GET` tells it; null: none."
    )
    share: float = Field(
        default=USUAL_SHARE, gt=0, le=MAX_SHARE, description="Of images and specimens, chosen by their hash."
    )


class ShadowBody(ReasonBody):
    """The head that is to run in the shadow, and why."""

    number: Annotated[int, Field(ge=1, le=99999)] | None = Field(
        description="Of the head, as `GET` tells it; null: none."
    )


class AdaptationsApi:
    """The endpoints, bound to the use cases."""

    def __init__(self, adaptations: Adaptations, services: Services, limits: OrderLimits) -> None:
        self._adaptations = adaptations
        self._limits = limits
        self._places = limits.adaptations()
        self._uploads = UploadLimits(
            max_file_bytes=services.decode_limits.max_bytes,
            max_total_bytes=limits.max_total_bytes,
            max_files=limits.max_files,
            file_field="SPECIMEN/CLASS",
            memory_bytes=MEMORY_BYTES,
            field_names=_LABELLED,
        )
        self._unlabelled = UploadLimits(
            max_file_bytes=services.decode_limits.max_bytes,
            max_total_bytes=limits.max_total_bytes,
            max_files=limits.max_files,
            file_field=FILES_FIELD,
            memory_bytes=MEMORY_BYTES,
            field_names=_ANY,
        )

    async def learn(self, request: Request, profile: _Profile) -> LearntHead:
        """Learn a head from labelled images, and judge it on specimens left out.

        A form whose fields tell the class of their files, and the specimen where it is known:
        `S-1/Neutrophil`, or `Neutrophil`, whose images then count as a specimen each; under `holdout/`, as in
        `holdout/S-3/Neutrophil`, what is scored and never learnt from. Or JSON with the ids of signed
        differentials. `cells_of` is the number of a head whose cells were kept with it, as they are where the
        store has a key: they are learnt from, too, without their images. The head stays off until it is
        switched on. An image that cannot be analysed is named in `failed`, and fails nothing else. Cells are
        named by their number in the form, from 1.
        """
        with self._places.taken():
            if request.headers.get("content-type", "").partition(";")[0].strip() == "application/json":
                ids = await read_json(request, SignedBody)
                images = await self._adaptations.signed(ids.signed)
                held = await self._adaptations.signed(ids.holdout)
                cells_of = ids.cells_of
            else:
                uploads = await read_uploads(request, self._uploads, self._limits.upload_timeout_s)
                found = [(_is_held(uploads, n), _image(uploads, n)) for n in range(len(uploads.files))]
                images = [image for is_held, image in found if not is_held]
                held = [image for is_held, image in found if is_held]
                cells_of = _number_of(uploads.fields.get("cells_of", ""))
            who = acting_person(request)
            learning = await self._adaptations.learn(profile, who, images, held, cells_of=cells_of)
        return LearntHead.of(learning)

    async def suggest(self, request: Request, profile: _Profile) -> SuggestedCells:
        """Say which cells to label next.

        A form with images that have no label in the field `files`, and with those that have one as in
        learning, so that what is missing comes first. Nothing is learnt, and nothing is kept.
        """
        with self._places.taken():
            uploads = await read_uploads(request, self._unlabelled, self._limits.upload_timeout_s)
            images = [_image(uploads, number) for number in range(len(uploads.files))]
            wanted = wanted_of(uploads.fields.get("wanted", ""))
            cells, failed = await self._adaptations.suggest(profile, images, wanted)
        return SuggestedCells.of(cells, failed)

    async def heads(self, profile: _Profile) -> HeadList:
        """The heads of a microscope with what was found of them, the one that answers, and who did what."""
        return HeadList.of(await self._adaptations.heads(profile))

    async def activate(self, request: Request, profile: _Profile, number: _Number) -> HeadList:
        """Let a head answer for its microscope. It takes a reason where it was not shown to be better, and is
        refused where too few cells tell anything, or it does not fit the model that answers or the way in
        which images are prepared."""
        body = await read_json(request, ReasonBody)
        await self._adaptations.switch_on(profile, number, acting_person(request), body.reason)
        return await self.heads(profile)

    async def canary(self, request: Request, profile: _Profile) -> HeadList:
        """Let a head answer for a share in place of the one that is on, or none. The same image gets the same
        head each time, and so do all images of a specimen; results name it. It takes what activation takes, a
        reason too. Switching a head on ends it, and so does rolling back."""
        body = await read_json(request, CanaryBody)
        who = acting_person(request)
        await self._adaptations.try_out(profile, body.number, who, body.share, body.reason)
        return await self.heads(profile)

    async def shadow(self, request: Request, profile: _Profile) -> HeadList:
        """Let a head run beside the one that answers, or none. It answers nobody: what it would say of each
        image is counted in `shadow`. It takes no reason, whatever was found of the head; refused where it
        answers already, or does not fit as in activation. Switching it on ends it."""
        body = await read_json(request, ShadowBody)
        await self._adaptations.run_in_shadow(profile, body.number, acting_person(request), body.reason)
        return await self.heads(profile)

    async def roll_back(self, request: Request, profile: _Profile) -> HeadList:
        """Let the head answer that did so before the one that does, or the model's own. A canary ends."""
        body = await read_json(request, ReasonBody)
        await self._adaptations.roll_back(profile, acting_person(request), body.reason)
        return await self.heads(profile)


def _number_of(said: str) -> int | None:
    if re.fullmatch(r"([1-9][0-9]{0,4})?", said) is None:
        raise InvalidParameter(FieldProblem("cells_of", "expected the number of a head"))
    return int(said) if said else None


def _is_held(uploads: Uploads, number: int) -> bool:
    return uploads.file_fields[number].startswith("holdout/")


def _image(uploads: Uploads, number: int) -> LabelledImage:
    said = _LABELLED.fullmatch(uploads.file_fields[number])
    specimen = None if said is None else said["specimen"]
    if specimen is not None and SPECIMEN_NAME.fullmatch(specimen) is None:
        raise InvalidParameter(FieldProblem("specimen", "expected a name of at most 64 characters"))
    return LabelledImage(
        partial(asyncio.to_thread, uploads.files.__getitem__, number),
        None if said is None else CLASS_NAMES.index(said["label"]),
        specimen,
        str(number + 1),
    )


_READ: Final = (InvalidParameter, errors.AdaptationRefused)
_CHANGE: Final = (*_READ, errors.UploadTooLarge, errors.CompressedBody)
_LEARN: Final = (
    *_CHANGE,
    errors.MalformedUpload,
    errors.UploadTimeout,
    errors.ImageTooLarge,
    errors.UnsupportedBody,
    errors.UnknownDifferential,
    errors.UnknownHead,
    errors.RecordAltered,
    errors.Overloaded,
    errors.ModelServerUnavailable,
    errors.StoreUnavailable,
)


def _form(required: str, what: str, **others: object) -> dict[str, object]:
    one = {"type": "string", "contentMediaType": "application/octet-stream"}
    schema = {
        "type": "object",
        "properties": {required: {"type": "array", "items": one, "description": what}, **others},
        "additionalProperties": {"type": "array", "items": one},
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def adaptation_routes(
    adaptations: Adaptations, services: Services, limits: OrderLimits = OrderLimits()
) -> list[Endpoint]:
    """The routes, for the application's list."""
    api = AdaptationsApi(adaptations, services, limits)
    learn_body = _form(
        "S-1/Neutrophil",
        "Neutrophils of specimen S-1; so for each class and specimen.",
        cells_of={
            "type": "integer",
            "description": "Number of a head whose kept cells are learnt from, too.",
        },
    )
    learn_body["content"] |= json_schema(SignedBody)["content"]
    reason = {"requestBody": json_schema(ReasonBody)}
    route = partial(Endpoint, tags=["adaptation"])
    return [
        route(
            "POST",
            PATH,
            api.learn,
            TEACH,
            name="learn_adaptation",
            refusals=_LEARN,
            status_code=201,
            response_description="The head is kept, and off.",
            openapi_extra={"requestBody": learn_body},
        ),
        route("GET", PATH, api.heads, READ, name="list_adaptations", refusals=_READ),
        route(
            "POST",
            f"{PATH}/suggestions",
            api.suggest,
            TEACH,
            name="suggest_cells",
            refusals=_LEARN,
            openapi_extra={"requestBody": _form(FILES_FIELD, "Images without a label.")},
        ),
        route(
            "POST",
            f"{PATH}/canary",
            api.canary,
            SIGN,
            name="canary_adaptation",
            refusals=(*_CHANGE, errors.UnknownHead, errors.ModelServerUnavailable),
            openapi_extra={"requestBody": json_schema(CanaryBody)},
        ),
        route(
            "POST",
            f"{PATH}/shadow",
            api.shadow,
            SIGN,
            name="shadow_adaptation",
            refusals=(*_CHANGE, errors.UnknownHead, errors.ModelServerUnavailable),
            openapi_extra={"requestBody": json_schema(ShadowBody)},
        ),
        route(
            "POST",
            f"{PATH}/roll-back",
            api.roll_back,
            SIGN,
            name="roll_back_adaptation",
            refusals=_CHANGE,
            openapi_extra=reason,
        ),
        route(
            "POST",
            f"{PATH}/{{number}}/activation",
            api.activate,
            SIGN,
            name="activate_adaptation",
            refusals=(*_CHANGE, errors.UnknownHead, errors.ModelServerUnavailable),
            openapi_extra=reason,
        ),
    ]


def without_heads(route: Endpoint) -> Endpoint:
    """The same route where no heads are kept: it says how that is changed."""
    return Endpoint(route.method, route.path, _heads_off, route.needs, include_in_schema=False)


async def _heads_off(_: Request) -> Response:
    raise errors.HeadsOff

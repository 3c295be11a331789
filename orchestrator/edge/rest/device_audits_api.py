"""The audits of microscopes over HTTP: their plans, the labelling, the one look, and what came of it.

Who labels must not see what the service answered: before the verdict nothing here tells an answer, not even
how many cells of a class there are. Plans are made and cells added by ``wbc audit-device``, which has the
images; the routes change the same files, by the same functions.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import errors
from orchestrator.device_audits.audit import CONFIDENCE, Audit, AuditFile
from orchestrator.device_audits.registry import LOCK_WAIT_S, audit_files
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.needs import READ, REVIEW, SIGN
from orchestrator.edge.http.bodies import json_schema, read_json
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.rest.shown_image import image_response
from orchestrator.errors import InvalidParameter, UploadTooLarge
from orchestrator.model_contract import ClassName

PATH: Final = "/v1/device-audits"
ONE: Final = f"{PATH}/{{audit_name}}"
CELL: Final = f"{ONE}/cells/{{image_sha256}}"

_Name = Annotated[str, Path(min_length=1, max_length=200, description="The file's, without its ending.")]
_Image = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the image file; hex.")]

AuditLabel = Literal[ClassName, "other"]
AuditState = Literal["adding", "labelling", "ready", "judged", "suspended"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LabelBody(_Document):
    """A person's label; ``other`` is what is none of the five classes."""

    label: AuditLabel


class AuditedCell(_Document):
    """A cell to be labelled: nothing of the answer."""

    image_sha256: str
    image: str = Field(description="The name of the file, as `wbc audit-device add` was given it.")
    label: AuditLabel | None


class JudgedClass(_Document):
    """What the one look said of a class."""

    class_name: str = Field(serialization_alias="class")
    threshold: float = Field(description="Least confidence of an answer.")
    accepted: int = Field(description="Answers of this class from there on.")
    errors: int
    accuracy_bound: float = Field(description="One-sided lower limit of their accuracy (Clopper-Pearson).")
    released: bool


class DeviceAuditSummary(_Document):
    """An audit as far as it is. Before it is judged it tells of the answers nothing."""

    name: str
    profile: str
    model: str = Field(examples=["wbc 7"])
    planned_at: datetime
    plan_sha256: str
    thresholds: dict[str, float] = Field(description="By class to be released, the least confidence.")
    cells_per_class: int
    target: float = Field(examples=[0.97])
    confidence: float = Field(default=CONFIDENCE, description="One-sided, of each class.")
    cells: int
    labelled: int
    state: AuditState = Field(
        description="`adding`: cells are missing; `labelling`: all are there, labels are missing; `ready` "
        "for the one look; `judged`; `suspended`: its samples have proven it wrong since."
    )
    samples: int = Field(description="Released answers that people checked since.")
    judged_at: datetime | None
    classes: list[JudgedClass] | None = Field(description="Null before the one look.")

    @classmethod
    def of(cls, name: str, audit: Audit) -> Self:
        return cls(**_summary(name, audit))


class DeviceAuditDocument(DeviceAuditSummary):
    """One audit, with its cells in an order that tells nothing of the answers."""

    to_label: list[AuditedCell]
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, name: str, audit: Audit) -> Self:
        cells = [
            AuditedCell.model_validate(
                {
                    "image_sha256": cell.image_sha256,
                    "image": cell.image,
                    "label": audit.labels.get(cell.image_sha256),
                }
            )
            for cell in audit.to_be_labelled()
        ]
        return cls(**_summary(name, audit), to_label=cells)


class DeviceAuditList(_Document):
    """The audits of the site's microscopes."""

    audits: list[DeviceAuditSummary]
    disclaimer: str = DISCLAIMER


def _summary(name: str, audit: Audit) -> dict[str, Any]:
    plan, verdict = audit.plan, audit.verdict
    return {
        "name": name,
        "profile": plan.profile,
        "model": f"{plan.model.name} {plan.model.version}",
        "planned_at": plan.planned_at,
        "plan_sha256": audit.plan_sha256,
        "thresholds": plan.thresholds,
        "cells_per_class": plan.cells_per_class,
        "target": plan.target,
        "confidence": plan.confidence,
        "cells": len(audit.cells),
        "labelled": len(audit.labels),
        "state": _state(audit),
        "samples": len(audit.samples),
        "judged_at": None if verdict is None else verdict.judged_at,
        "classes": None
        if verdict is None
        else [JudgedClass.model_validate(one.model_dump()) for one in verdict.classes],
    }


def _state(audit: Audit) -> AuditState:
    if audit.verdict is not None:
        return "suspended" if audit.is_suspended() else "judged"
    if not audit.is_filled:
        return "adding"
    return "labelling" if audit.missing() else "ready"


class DeviceAuditsApi:
    """The endpoints, bound to the folder of audits (None: there is none) and the largest image's size."""

    def __init__(self, folder: FilePath | None, max_image_bytes: int) -> None:
        self._folder = folder
        self._max_image_bytes = max_image_bytes
        self._changing: dict[str, asyncio.Lock] = {}  # who labels beside others waits here, and in no thread

    async def all(self) -> DeviceAuditList:
        """The audits of microscopes. A file that does not hold is left out; `wbc check` names it."""
        return await asyncio.to_thread(self._list)

    async def get(self, audit_name: _Name) -> DeviceAuditDocument:
        """One audit with its cells. Nothing of the answers is told before the one look."""
        return await asyncio.to_thread(
            lambda: DeviceAuditDocument.of(audit_name, _read(self._file(audit_name)))
        )

    async def label(self, request: Request, audit_name: _Name, image_sha256: _Image) -> DeviceAuditSummary:
        """Label a cell, without having seen the answer; until the one look a later label replaces it."""
        body = await read_json(request, LabelBody)
        return await self._change(audit_name, lambda audit: audit.with_labels({image_sha256: body.label}))

    async def judge(self, audit_name: _Name) -> DeviceAuditSummary:
        """Judge, once and for good, when all that was planned is there and labelled."""
        return await self._change(audit_name, _judged)

    async def image(self, audit_name: _Name, image_sha256: _Image) -> Response:
        """The image of a cell, where this service can read the file that was added."""
        return await image_response(await asyncio.to_thread(self._image, audit_name, image_sha256))

    async def _change(self, name: str, change: Callable[[Audit], Audit]) -> DeviceAuditSummary:
        file = await asyncio.to_thread(self._file, name)  # a name that is none leaves no lock behind
        async with self._changing.setdefault(name, asyncio.Lock()):
            return await asyncio.to_thread(self._changed, name, file, change)

    @staticmethod
    def _changed(name: str, file: AuditFile, change: Callable[[Audit], Audit]) -> DeviceAuditSummary:
        try:
            with file.held(wait_s=LOCK_WAIT_S):
                before = _read(file)
                try:
                    after = change(before)
                except errors.ConfigurationError as error:
                    raise errors.AuditRefused(str(error)) from error
                file.write(after)
        except errors.ConfigurationError as error:  # its words name the file
            raise errors.AuditRefused(
                "The audit's file cannot be changed now: a command is at work on it, or it cannot be written."
            ) from error
        return DeviceAuditSummary.of(name, after)

    def _list(self) -> DeviceAuditList:
        found = []
        for path in self._paths():
            with suppress(errors.ConfigurationError):
                found.append(DeviceAuditSummary.of(path.stem, AuditFile(path).read()))
        return DeviceAuditList(audits=found)

    def _image(self, name: str, image_sha256: str) -> bytes:
        audit = _read(self._file(name))
        image = next((cell.image for cell in audit.cells if cell.image_sha256 == image_sha256), None)
        if image is None:
            raise errors.UnknownCell("The audit has no cell of this image.")
        with suppress(OSError, ValueError), FilePath(image).open("rb") as file:
            payload = file.read(self._max_image_bytes + 1)
            # Whatever name the audit says: nothing is given out but the very image that was added.
            if hashlib.sha256(payload).hexdigest() == image_sha256:
                return payload
        raise errors.ImageNotKept("This service cannot read the file that was added.")

    def _file(self, name: str) -> AuditFile:
        for path in self._paths():
            if path.stem == name:
                return AuditFile(path)
        raise errors.UnknownAudit("There is no audit of this name.")

    def _paths(self) -> list[FilePath]:
        try:
            return [] if self._folder is None else audit_files(self._folder)
        except OSError:
            return []


def _judged(audit: Audit) -> Audit:
    # What is missing is not told by class, as the command does: from that one could read the answers.
    if audit.verdict is None and audit.missing():
        raise errors.ConfigurationError("nothing is judged before all cells are there and have a label")
    return audit.judged(datetime.now(UTC))


def _read(file: AuditFile) -> Audit:
    try:
        return file.read()
    except errors.ConfigurationError as error:  # its words name the file
        raise errors.AuditRefused("The audit's file does not hold; `wbc check` tells more.") from error


def device_audit_routes(folder: FilePath | None, max_image_bytes: int) -> list[Endpoint]:
    """The routes, for the application's list."""
    api = DeviceAuditsApi(folder, max_image_bytes)
    read = (errors.UnknownAudit, errors.AuditRefused, InvalidParameter)

    route = partial(Endpoint, tags=["device audits"])
    return [
        route("GET", PATH, api.all, READ, name="list_device_audits"),
        route("GET", ONE, api.get, READ, name="get_device_audit", refusals=read),
        route(
            "PUT",
            f"{CELL}/label",
            api.label,
            REVIEW,
            name="label_audited_cell",
            refusals=(*read, UploadTooLarge),
            openapi_extra={"requestBody": json_schema(LabelBody)},
        ),
        route("PUT", f"{ONE}/verdict", api.judge, SIGN, name="judge_device_audit", refusals=read),
        route(
            "GET",
            f"{CELL}/image",
            api.image,
            READ,
            name="audited_cell_image",
            refusals=(*read, errors.UnknownCell, errors.ImageNotKept),
            response_class=Response,
        ),
    ]

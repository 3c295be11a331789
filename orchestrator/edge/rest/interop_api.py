"""Differentials in the formats of other systems: ``GET /v1/differentials/{id}/fhir``, ``…/hl7``,
``…/export.csv`` and ``…/dicom``.

None takes anything about a patient: what stands in an address ends in logs on the way. A patient's data is
added where the message is sent from, by ``wbc export`` or by the receiver, who knows the specimen.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from starlette.responses import Response

from orchestrator import errors
from orchestrator.edge.access.needs import READ
from orchestrator.edge.admission import Places
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.errors import InvalidParameter
from orchestrator.interop import csv_tables, fhir, hl7v2
from orchestrator.interop.dicom_process import DICOM_TYPE, ReportProcess
from orchestrator.interop.fhir import BundleType
from orchestrator.interop.hl7v2 import MessageKind
from orchestrator.interop.site import Site
from orchestrator.specimen import Differential

DifferentialOf = Callable[[str], Awaitable[Differential]]
"""Gives the differential of an id as it is now; raises :class:`~orchestrator.errors.UnknownDifferential`, and
:class:`~orchestrator.errors.RecordAltered` where it is not what was recorded, decided and signed."""

_Id = Annotated[str, Path(min_length=1, max_length=64, description="Of the differential.")]

MOST_DICOM_ASKED: Final = 4
"""Reports at once: one is written, the others wait for it, each holding a differential."""

_PREFIX: Final = "/v1/differentials/{differential_id}"


class InteropApi:
    """The endpoints, bound to where differentials come from and to what the site configures."""

    def __init__(self, differential_of: DifferentialOf, site: Site, reports: ReportProcess) -> None:
        self._differential_of = differential_of
        self._site = site
        self._reports = reports
        self._dicom_places = Places(MOST_DICOM_ASKED, "DICOM reports are being written")

    async def fhir(
        self,
        differential_id: _Id,
        bundle: Annotated[
            BundleType,
            Query(description="`transaction` for a FHIR server, where it replaces what was sent before."),
        ] = "transaction",
        cells: Annotated[bool, Query(description="Also one Observation for each cell.")] = False,
    ) -> Response:
        """The differential as a FHIR R4 Bundle; `preliminary` until a person signed it."""
        differential = await self._differential_of(differential_id)
        text = await asyncio.to_thread(self._bundle, differential, bundle, cells)
        return Response(text, media_type=fhir.MEDIA_TYPE)

    async def hl7(
        self,
        differential_id: _Id,
        message: Annotated[
            MessageKind, Query(description="`oru`: ORU^R01 for a LIS; `oul`: OUL^R22 as analysers send it.")
        ] = "oru",
        detail: Annotated[
            bool, Query(description="With numbers of cells and intervals, under codes of their own.")
        ] = True,
    ) -> Response:
        """The differential as an HL7 v2.5.1 message; status `P` until a person signed it."""
        differential = await self._differential_of(differential_id)
        data = await asyncio.to_thread(hl7v2.message, differential, message, self._site, detail=detail)
        return Response(data, headers={"Content-Type": hl7v2.media_type(self._site)})

    async def csv(
        self,
        differential_id: _Id,
        table: Annotated[
            Literal["classes", "cells"], Query(description="A row for each class, or for each cell.")
        ] = "classes",
        spreadsheet: Annotated[
            csv_tables.Spreadsheet | None,
            Query(
                description="The decimal separator of the spreadsheet that opens it: `comma`, as in "
                "Turkish and German, also parts columns by semicolons; both begin with a byte order mark. "
                "RFC 4180 where absent."
            ),
        ] = None,
    ) -> Response:
        """The differential as a table (RFC 4180, UTF-8), or for a spreadsheet."""
        differential = await self._differential_of(differential_id)
        if table == "classes":
            text = await asyncio.to_thread(csv_tables.class_table, differential, self._site, spreadsheet)
        else:
            text = await asyncio.to_thread(csv_tables.cell_table, differential, spreadsheet)
        headers = {"Content-Disposition": f'attachment; filename="differential-{table}.csv"'}
        return Response(text, media_type=csv_tables.MEDIA_TYPE, headers=headers)

    async def dicom(self, differential_id: _Id) -> Response:
        """The differential as a DICOM Comprehensive SR (TID 1500); PARTIAL and UNVERIFIED until a person
        signed it."""
        with self._dicom_places.taken():
            differential = await self._differential_of(differential_id)
            data = await self._reports.written(differential, self._site)
        headers = {"Content-Disposition": 'attachment; filename="differential.dcm"'}
        return Response(data, media_type=DICOM_TYPE, headers=headers)

    def _bundle(self, differential: Differential, bundle_type: BundleType, cells: bool) -> str:
        """Thousands of cells take longer than the event loop has."""
        document = fhir.bundle(differential, self._site, bundle_type=bundle_type, per_cell=cells)
        return json.dumps(document, ensure_ascii=False)


def interop_routes(differential_of: DifferentialOf, site: Site, reports: ReportProcess) -> list[Endpoint]:
    """The routes, for the application's list."""
    api = InteropApi(differential_of, site, reports)
    refusals = (
        errors.UnknownDifferential,
        InvalidParameter,
        errors.RecordAltered,
        errors.StoreUnavailable,
    )
    of_dicom = (*refusals, errors.DicomOff, errors.Overloaded, errors.DeadlineExceeded)

    def route(
        name: str,
        answer: Callable[..., Awaitable[Response]],
        content: dict[str, Any],
        refusals: tuple[type[errors.WbcError], ...] = refusals,
    ) -> Endpoint:
        return Endpoint(
            "GET",
            f"{_PREFIX}/{name}",
            answer,
            READ,
            operation_id=f"differential_{name.removeprefix('export.')}",
            tags=["differentials"],
            response_class=Response,
            responses={200: content},
            refusals=refusals,
        )

    file = {
        "description": "The file.",
        "content": {DICOM_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
    return [
        route("fhir", api.fhir, _content(fhir.MEDIA_TYPE, "object")),
        route("hl7", api.hl7, _content(hl7v2.MEDIA_TYPE, "string"), (*refusals, errors.UnsayableText)),
        route("export.csv", api.csv, _content(csv_tables.MEDIA_TYPE.split(";")[0], "string")),
        route("dicom", api.dicom, file, of_dicom),
    ]


def _content(media_type: str, kind: str) -> dict[str, Any]:
    return {
        "description": "The message.",
        "content": {media_type: {"schema": {"type": kind}}},
    }

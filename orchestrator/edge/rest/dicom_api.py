"""A stored differential as a DICOM structured report: ``GET /v1/differentials/{id}/dicom``.

It takes nothing about a patient, as :mod:`~orchestrator.edge.rest.interop_api`: ``wbc export dicom`` adds
that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Path
from starlette.responses import Response

from orchestrator import errors
from orchestrator.edge.access.needs import READ
from orchestrator.edge.admission import Places
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.errors import InvalidParameter
from orchestrator.interop.dicom_process import written_report
from orchestrator.interop.site import Site
from orchestrator.specimen import Differential

MEDIA_TYPE: Final = "application/dicom"
MOST_ASKED: Final = 4
"""Reports at once: one is written, the others wait for it."""

DifferentialOf = Callable[[str], Awaitable[Differential]]
"""Gives the differential of an id as it is now; raises :class:`~orchestrator.errors.UnknownDifferential`."""


class DicomApi:
    """The endpoint, bound to where differentials come from and to what the site configures."""

    def __init__(self, differential_of: DifferentialOf, site: Site) -> None:
        self._differential_of = differential_of
        self._site = site
        self._writing = asyncio.Semaphore(1)  # others wait: each takes a core and 200 MB
        self._places = Places(MOST_ASKED, "DICOM reports are being written")

    async def dicom(
        self,
        differential_id: Annotated[
            str, Path(min_length=1, max_length=64, description="Of the differential.")
        ],
    ) -> Response:
        """The differential as a DICOM Comprehensive SR (TID 1500); PARTIAL and UNVERIFIED until a person
        signed it. Takes some seconds."""
        with self._places.taken():
            differential = await self._differential_of(differential_id)
            async with self._writing:
                data = await written_report(differential, self._site)
        headers = {"Content-Disposition": 'attachment; filename="differential.dcm"'}
        return Response(data, media_type=MEDIA_TYPE, headers=headers)


def dicom_routes(differential_of: DifferentialOf, site: Site) -> list[Endpoint]:
    """The route, for the application's list."""
    file = {"schema": {"type": "string", "format": "binary"}}
    return [
        Endpoint(
            "GET",
            "/v1/differentials/{differential_id}/dicom",
            DicomApi(differential_of, site).dicom,
            READ,
            operation_id="differential_dicom",
            tags=["differentials"],
            response_class=Response,
            responses={200: {"description": "The file.", "content": {MEDIA_TYPE: file}}},
            refusals=(
                errors.UnknownDifferential,
                InvalidParameter,
                errors.StoreUnavailable,
                errors.DicomOff,
                errors.Overloaded,
                errors.DeadlineExceeded,
            ),
        )
    ]

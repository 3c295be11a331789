"""One whole field in, all its white cells out: ``POST /v1/fields``."""

import asyncio
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import errors, field_steps
from orchestrator.analyse import Services
from orchestrator.analyse_field import FieldOptions
from orchestrator.documents.field import FieldResult, field_document
from orchestrator.domain import FieldAnalysis
from orchestrator.edge.access.needs import ANALYSE
from orchestrator.edge.admission import Admission
from orchestrator.edge.http.endpoint import Endpoint, TimeoutMs
from orchestrator.edge.http.uploads import FILE_FIELD, UploadLimits
from orchestrator.edge.parameters import FieldParameters
from orchestrator.edge.request_frame import Deadlines, RequestFrame
from orchestrator.edge.rest.analyses_api import UPLOAD_PROBLEMS, begun, merged
from orchestrator.edge.rest.forms import form_schema
from orchestrator.image_steps import RenderOptions
from orchestrator.interop import csv_tables, field_formats
from orchestrator.interop.dicom_process import DICOM_TYPE, ReportProcess, require_dicom
from orchestrator.interop.site import Site
from orchestrator.vision.containers import is_dicom

_FIELD: Final = "One field: JPEG, PNG, BMP, TIFF, WebP or DICOM."

_OTHERS: Final[dict[str, dict[str, Any]]] = {
    field_formats.GEOJSON_TYPE: {},
    "text/csv": {},
    "image/png": {},
    "image/jpeg": {},
    DICOM_TYPE: {"schema": {"type": "string", "format": "binary"}},
}


def field_routes(
    services: Services, admission: Admission, deadlines: Deadlines, site: Site, reports: ReportProcess
) -> list[Endpoint]:
    """The routes of fields."""
    api = FieldsApi(services, admission, deadlines, site, reports)
    return [
        Endpoint(
            "POST",
            "/v1/fields",
            api.fields,
            ANALYSE,
            tags=["analysis"],
            response_description="All white cells of the field.",
            response_model=FieldResult,
            refusals=(*UPLOAD_PROBLEMS, errors.FieldTooSmall, errors.DicomOff),
            responses={200: {"content": _OTHERS}},
            openapi_extra={"requestBody": form_schema(FieldParameters, FILE_FIELD, _FIELD)},
        )
    ]


class FieldsApi:
    """The endpoint, bound to the services that it speaks to."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        deadlines: Deadlines,
        site: Site,
        reports: ReportProcess,
    ) -> None:
        self._services = services
        self._site = site
        self._reports = reports
        self._frame = RequestFrame(services, admission)
        self._deadlines = deadlines
        max_bytes = services.field_limits.max_bytes
        self._limits = UploadLimits(max_bytes, max_bytes)

    async def fields(
        self,
        request: Request,
        query: Annotated[FieldParameters, Query()],
        timeout_ms: TimeoutMs = None,
    ) -> FieldResult | Response:
        """Find and classify every white cell of a field.

        Each with its box, outlines, class, probabilities and reasons for a review. A field without a white
        cell is answered, too: `cells` is empty and `message` says so. `unidentified` is what may be no white
        cell; it is not counted. Every parameter may stand in the query or in the form.
        """
        time_s, most = self._deadlines.seconds(timeout_ms), self._services.field_limits.max_pixels
        async with begun(self._frame, request, time_s, self._limits, most) as uploads:
            chosen = merged(query, uploads.fields)
            options = FieldOptions(
                profile=chosen.profile,
                tta=chosen.tta,
                heatmap=chosen.heatmap,
                red_cell_px=chosen.red_cell_px,
                drawing=RenderOptions(chosen.colour_map, chosen.heatmap_format),
            )
            if chosen.format == "dicom":
                require_dicom()
            field = await self._frame.field_analysed(uploads.files[0], options)
            if chosen.format in ("png", "jpeg"):
                return await self._picture(uploads.files[0], field, chosen.format)
            if chosen.format == "dicom":
                return await self._report(uploads.files[0], field)
        if chosen.format == "geojson":
            text = await asyncio.to_thread(field_formats.geojson, field)
            return Response(text, media_type=field_formats.GEOJSON_TYPE)
        if chosen.format == "csv":
            text = await asyncio.to_thread(field_formats.csv_of, field, chosen.spreadsheet)
            return Response(text, headers={"Content-Type": csv_tables.MEDIA_TYPE})
        return field_document(field)

    async def _picture(self, payload: bytes, field: FieldAnalysis, image_format: str) -> Response:
        data = await self._services.images.run(
            field_steps.annotate,
            payload,
            self._services.field_limits,
            field_steps.labels_of(field),
            image_format,
        )
        return Response(data, media_type=f"image/{image_format}")

    async def _report(self, payload: bytes, field: FieldAnalysis) -> Response:
        image_sha256 = await asyncio.to_thread(lambda: sha256(payload).hexdigest())
        dicom_file = payload if is_dicom(payload) else None
        try:
            data = await self._reports.written_of_field(
                field, image_sha256, dicom_file, self._site, datetime.now(UTC)
            )
        except errors.MalformedMessage as error:
            raise errors.UndecodableImage(
                f"A DICOM report cannot be written of this image: {error}"
            ) from error
        headers = {"Content-Disposition": 'attachment; filename="field.dcm"'}
        return Response(data, media_type=DICOM_TYPE, headers=headers)

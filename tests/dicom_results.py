"""Results as DICOM objects, for the tests of what reads them."""

import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import pydicom
from pydicom.dataset import Dataset

from orchestrator.analyse import AnalysisOptions, analyse
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import Analysis
from orchestrator.emulator.golden import golden_reports
from orchestrator.interop.dicom import CellSource, DicomObject, StudyContext
from orchestrator.interop.dicom_overlay import overlay_image
from orchestrator.interop.dicom_report import cell_report
from orchestrator.interop.site import DEFAULT_SITE, Site
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer

MOMENT = datetime(2026, 3, 2, 9, 45, 12, tzinfo=UTC)


@dataclass(frozen=True)
class CellObjects:
    """What becomes of one image."""

    analysis: Analysis
    overlay: DicomObject
    report: DicomObject


async def cell_objects(
    payload: bytes,
    study: StudyContext,
    moment: datetime = MOMENT,
    *,
    is_lossy: bool = False,
    site: Site = DEFAULT_SITE,
) -> CellObjects:
    model_server = FakeModelServer()
    await model_server.start()
    services = build_services(Settings(), model_server=model_server)
    analysis = await analyse(payload, services, AnalysisOptions(report=False))
    source = CellSource("image/model", 3, study, is_lossy)
    overlay = overlay_image(analysis, source, "1.0")
    report = cell_report(analysis, source, overlay, moment=moment, service_version="1.0", site=site)
    return CellObjects(analysis, overlay, report)


@cache
def made_reports() -> Mapping[str, bytes]:
    """The golden reports, made once for all who read them: they take seconds."""
    return golden_reports()


def read(one: DicomObject) -> Dataset:
    return pydicom.dcmread(io.BytesIO(one.data))


Made = Callable[[bytes, StudyContext], Awaitable[CellObjects]]

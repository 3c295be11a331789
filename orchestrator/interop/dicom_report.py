"""A result as a DICOM Comprehensive SR, laid out as a Measurement Report (PS3.16, TID 1500).

A report is PARTIAL, PRELIMINARY and UNVERIFIED, however complete it is, until a person signs; then that
person is the verifying observer. Every report says in words what it must not be used for. No text of a report
writer is in it. Groups of measurements name the model as the algorithm.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Final

import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SubjectContext,
    SubjectContextSpecimen,
    TextContentItem,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ComprehensiveSRStorage, VLMicroscopicImageStorage

from orchestrator.domain import DISCLAIMER, Analysis, Box, FieldAnalysis, FieldCell, Finding, ModelIdentity
from orchestrator.interop import coding, dicom_codes
from orchestrator.interop.coding import Code, Unit
from orchestrator.interop.dicom import (
    MANUFACTURER,
    MODEL_NAME,
    CellSource,
    DicomObject,
    StudyContext,
    begin_instance,
    derived_uid,
    finished,
    new_study,
    person_name,
    quiet,
    set_moment,
    study_of_image,
)
from orchestrator.interop.dicom_codes import class_code, concept
from orchestrator.interop.dicom_values import unlimited
from orchestrator.interop.reporting import FIVE_CLASSES, METHOD, issued_at, notes, phase, remarks, reported
from orchestrator.interop.site import DEFAULT_SITE, NO_CONTEXT, OrderContext, Site
from orchestrator.labels import UNIDENTIFIED
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CellResult,
    ClassCount,
    Differential,
    Range,
    Signature,
    Specimen,
)

SERIES_NUMBER: Final = 9002

_DIGITS: Final = 4
_PERCENT_DIGITS: Final = 2
_ABSOLUTE_DIGITS: Final = 3

_OWN_CODES: Final = CodingSchemeIdentificationItem("99WBC", "Codes of WBC Analyzer", uid=derived_uid("codes"))

Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations


def cell_report(
    analysis: Analysis,
    source: CellSource,
    overlay: DicomObject,
    *,
    moment: datetime,
    service_version: str,
    site: Site = DEFAULT_SITE,
) -> DicomObject:
    """One cell: class, probabilities, focus ratio, and why a person should look at it.

    ``overlay`` is its heatmap, which the report shows; ``moment`` (aware) is when it was analysed. Nobody
    signs a single cell.
    """
    study = source.study
    with quiet():
        content = _content(
            procedure=dicom_codes.CELL_ANALYSIS,
            groups=[_cell_group(analysis, source, site)],
            study=study,
            service_version=service_version,
            sentences=(DISCLAIMER, FIVE_CLASSES, *_in_words(analysis)),
        )
        content.ContentSequence.append(
            ImageContentItem(
                concept(dicom_codes.HEATMAP),
                overlay.sop_class_uid,
                overlay.sop_instance_uid,
                relationship_type="CONTAINS",
            )
        )
        model = f"{analysis.model.name}/{analysis.model.version}"
        picture = _stand_in(study, overlay.sop_class_uid, overlay.sop_instance_uid)
        picture.SeriesInstanceUID = derived_uid("overlays", study.study_uid, model)
        report = _document(
            content,
            study,
            [study.study, picture] if study.source else [picture],
            series=derived_uid("reports", study.study_uid, model),
            number=source.number,
            moment=moment,
            service_version=service_version,
            signature=None,
            site=site,
        )
        names = map("=".join, sorted(site.snomed.items()))
        return finished(report, derived_uid("cell report", study.study_uid, source.key, *names))


def field_report(
    field: FieldAnalysis,
    image_sha256: str,
    dicom_file: bytes | None,
    site: Site = DEFAULT_SITE,
    *,
    moment: datetime,
    service_version: str,
) -> DicomObject:
    """One whole field: of each find its class, probabilities, why a person should look at it, and its region.

    The report belongs to patient and study of the field's ``dicom_file``, which its regions name; that of a
    mere picture (None) has a study of its own, and names it as :func:`field_uid`. ``moment`` (aware) is when
    the field was analysed. Nobody signs a single field.

    Raises :class:`~orchestrator.errors.MalformedMessage` where the DICOM file names no study.
    """
    study = study_of_image(image_sha256, dicom_file)
    with quiet():
        image = study.source or (VLMicroscopicImageStorage, field_uid(image_sha256))
        models = () if field.model is None else (field.model,)
        finds = list(enumerate((*field.cells, *field.unidentified), start=1))
        named = () if study.source else (_field_in_words(1, field.image_size, image_sha256),)
        report = _document(
            _content(
                procedure=dicom_codes.FIELD_ANALYSIS,
                groups=[
                    _field_group(field, models, image),
                    *(_find_group(number, cell, field, models, image, site) for number, cell in finds),
                ],
                study=study,
                service_version=service_version,
                sentences=(DISCLAIMER, FIVE_CLASSES, *named, *_finds_in_words(finds)),
            ),
            study,
            [study.study if study.source else _field_stand_in(study, field.image_size, image_sha256)],
            series=derived_uid("reports", study.study_uid, *(f"{m.name}/{m.version}" for m in models)),
            number=1,
            moment=moment,
            service_version=service_version,
            signature=None,
            site=site,
        )
        return finished(report)


def differential_report(
    differential: Differential, site: Site = DEFAULT_SITE, context: OrderContext = NO_CONTEXT
) -> DicomObject:
    """A specimen: each class's number and share with its interval, and what was counted; of whole fields each
    cell too, with its region in its field.

    A field that came as a mere picture is named by an identifier that follows from its SHA-256
    (:func:`field_uid`).

    The same differential gives the same object; after a decision or the signature it is another one.
    """
    differential = reported(differential)
    specimen = differential.specimen
    key = specimen.differential_id
    study = new_study(
        derived_uid("study", key),
        context,
        specimen=specimen.order.specimen_id,
        begun_at=specimen.created_at,
    )
    signature = specimen.signature if phase(differential) == "final" else None
    fields = specimen.fields
    with quiet():
        content = _content(
            procedure=coding.panel(site.method),
            groups=[*_specimen_groups(differential, site), *_regions(specimen, site)],
            study=study,
            service_version=differential.service_version,
            sentences=(
                *notes(differential),
                f"Method: {METHOD}.",
                *(_field_in_words(one.number, one.image_size, one.image_sha256) for one in fields),
                *_lines(remarks(differential)),
            ),
            person=None if signature is None else signature.person,
        )
        report = _document(
            content,
            study,
            [_field_stand_in(study, one.image_size, one.image_sha256) for one in fields]
            or [_stand_in(study, ComprehensiveSRStorage, derived_uid("none"))],
            series=derived_uid("reports", study.study_uid),
            number=1,
            moment=issued_at(differential),
            service_version=differential.service_version,
            signature=signature,
            site=site,
        )
        if not fields:  # highdicom demands evidence; images of single cells are none
            del report.CurrentRequestedProcedureEvidenceSequence
        return finished(report)


def field_uid(image_sha256: str) -> str:
    """The identifier of a field as a VL Microscopic Image, whoever makes one of its file."""
    return derived_uid("field", image_sha256)


def _content(
    *,
    procedure: Code,
    groups: Sequence[Group],
    study: StudyContext,
    service_version: str,
    sentences: Sequence[str],
    person: str | None = None,
) -> Dataset:
    """The root of the tree."""
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("service", service_version),
        name=f"{MODEL_NAME} {service_version}",
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
    )
    subject = None
    if study.specimen is not None:
        uid = study.specimen_uid or derived_uid("specimen", study.study_uid, study.specimen)
        specimen = SubjectContextSpecimen(uid, identifier=study.specimen)
        subject = SubjectContext(codes.DCM.Specimen, specimen)
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_person_context=None
            if person is None
            else ObserverContext(
                codes.DCM.Person, PersonObserverIdentifyingAttributes(name=person_name(person))
            ),
            observer_device_context=ObserverContext(codes.DCM.Device, device),
            subject_context=subject,
        ),
        procedure_reported=concept(procedure),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    root: Dataset = report[0]
    for sentence in sentences:
        root.ContentSequence.append(
            TextContentItem(codes.DCM.Comment, sentence, relationship_type="CONTAINS")
        )
    return root


def _document(
    content: Dataset,
    study: StudyContext,
    evidence: list[Dataset],
    *,
    series: str,
    number: int,
    moment: datetime,
    service_version: str,
    signature: Signature | None,
    site: Site,
) -> ComprehensiveSR:
    report = ComprehensiveSR(
        evidence=evidence,
        content=content,
        series_instance_uid=series,
        series_number=SERIES_NUMBER,
        sop_instance_uid="2.25.0",
        instance_number=number,
        is_complete=signature is not None,
        is_final=signature is not None,
        is_verified=signature is not None,
        verifying_observer_name=None if signature is None else person_name(signature.person),
        verifying_organization=site.sending_facility or "not stated",
        series_description="Classification by a model: research use only",
        coding_schemes=[_OWN_CODES],
    )
    for equipment in report.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in equipment:  # highdicom's note of itself, with the time of writing
            del equipment.ContributionDateTime
    begin_instance(report, study, service_version)
    set_moment(report, moment, "Content")
    if signature is not None:
        signed_at = signature.signed_at.astimezone(UTC)
        report.VerifyingObserverSequence[0].VerificationDateTime = signed_at.strftime("%Y%m%d%H%M%S.%f+0000")
    return report


def _stand_in(study: StudyContext, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """What highdicom needs to know of an object: patient, study, and which one it is."""
    known = deepcopy(study.study)
    known.SOPClassUID, known.SOPInstanceUID = sop_class_uid, sop_instance_uid
    known.SeriesInstanceUID = derived_uid("stand-in", study.study_uid)
    return known


def _cell_group(analysis: Analysis, source: CellSource, site: Site) -> Group:
    finding = analysis.finding
    images = None
    if source.study.source is not None:
        images = [SourceImageForMeasurementGroup(*source.study.source)]
    details = (
        _profile(analysis),
        *_decided(analysis),
    )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            derived_uid("cell", source.study.study_uid, source.key), f"Cell {source.number}"
        ),
        finding_type=concept(class_code(finding.class_name, site)),
        algorithm_id=_algorithm((analysis.model,), *details),
        measurements=list(_finding_measurements(analysis)),
        qualitative_evaluations=[
            *_judged(finding.class_name, finding.needs_review, site),
            _evaluated(coding.DEVICE_STATE, coding.device_state(analysis.device_state)),
            *_review_reasons(finding),
        ],
        source_images=images,
    )


def _finding_measurements(of: Analysis | FieldCell) -> Iterator[Measurement]:
    finding, focus = of.finding, of.focus
    for name, probability in zip(CLASS_NAMES, finding.probabilities, strict=True):
        yield _measured(coding.probability(name), probability, coding.RATIO, _DIGITS)
    yield _measured(coding.NOT_WBC, finding.not_wbc, coding.RATIO, _DIGITS)
    yield _measured(dicom_codes.MARGIN, finding.margin, coding.RATIO, _DIGITS)
    yield _measured(dicom_codes.ENERGY, finding.energy, coding.RATIO, _DIGITS)
    if focus is not None:
        yield _measured(dicom_codes.FOCUS_RATIO, focus.focus_ratio, coding.RATIO, _DIGITS)


def _judged(label: str, needs_review: bool, site: Site) -> Iterator[QualitativeEvaluation]:
    yield _evaluated(dicom_codes.CLASS, class_code(label, site))
    yield _evaluated(dicom_codes.NEEDS_REVIEW, dicom_codes.YES if needs_review else dicom_codes.NO)


def _review_reasons(finding: Finding) -> Iterator[QualitativeEvaluation]:
    for reason in finding.review_reasons:
        code = Code(coding.OWN, reason.code.replace("_", "-"), reason.message)
        yield _evaluated(dicom_codes.REVIEW_REASON, code)


def _decided(of: Analysis | FieldCell) -> tuple[str, str]:
    return f"views: {of.views}", f"routing: {of.finding.decided_by}"


def _field_group(field: FieldAnalysis, models: Sequence[ModelIdentity], image: tuple[str, str]) -> Group:
    """The field as a whole: how many cells it has."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(derived_uid("field group", image[1]), "Field"),
        algorithm_id=_algorithm(models, _profile(field)),
        measurements=[
            _measured(coding.CELLS_COUNTED, len(field.cells), coding.CELLS, 0),
            _measured(dicom_codes.FINDS_UNIDENTIFIED, len(field.unidentified), coding.CELLS, 0),
        ],
        qualitative_evaluations=[_evaluated(coding.DEVICE_STATE, coding.device_state(field.device_state))],
        source_images=[SourceImageForMeasurementGroup(*image)],
    )


def _find_group(
    number: int,
    cell: FieldCell,
    field: FieldAnalysis,
    models: Sequence[ModelIdentity],
    image: tuple[str, str],
    site: Site,
) -> Group:
    label = cell.finding.class_name if cell.is_identified else UNIDENTIFIED
    return _region(
        TrackingIdentifier(derived_uid("find", image[1], str(cell.box)), f"Cell {number}"),
        label,
        cell.box,
        SourceImageForRegion(*image),
        [
            *_judged(label, cell.finding.needs_review or not cell.is_identified, site),
            *_review_reasons(cell.finding),
        ],
        site,
        algorithm=_algorithm(models, _profile(field), *_decided(cell)),
        measurements=list(_finding_measurements(cell)),
    )


def _finds_in_words(finds: Sequence[tuple[int, FieldCell]]) -> Iterator[str]:
    """Each reason for a review once, with the numbers of its cells."""
    numbers: dict[str, list[str]] = {}
    for number, cell in finds:
        for reason in cell.finding.review_reasons:
            numbers.setdefault(reason.message, []).append(str(number))
    for message, of in numbers.items():
        yield f"A person should look at cell {', '.join(of)}: {message}"


def _in_words(analysis: Analysis) -> Iterator[str]:
    for reason in analysis.finding.review_reasons:
        yield f"A person should look at this: {reason.message}"


def _lines(texts: Sequence[str]) -> list[str]:
    """With the ends of lines that DICOM has (PS3.5, 6.1.3)."""
    return ["\r\n".join(map(unlimited, text.split("\n"))) for text in texts]


def _specimen_groups(differential: Differential, site: Site) -> list[Group]:
    shifts = dict(zip(CLASS_NAMES, differential.label_shift or (), strict=False))
    algorithm = _algorithm(differential.models, *sorted(_profiles(differential)))
    groups = [
        MeasurementsAndQualitativeEvaluations(
            tracking_identifier=_tracked(differential, count.label),
            finding_type=concept(class_code(count.label, site)),
            algorithm_id=algorithm,
            measurements=list(_class_measurements(count, site, shifts.get(count.label))),
            qualitative_evaluations=[_evaluated(dicom_codes.FLAG, dicom_codes.FLAGS[count.flag])]
            if count.flag
            else None,
        )
        for count in differential.counts
    ]
    return [_summary(differential, algorithm), *groups]


def _regions(specimen: Specimen, site: Site) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Of each cell of a field that counts, or that a person is asked about: what it is, and its box there."""
    images = {
        field.number: SourceImageForRegion(VLMicroscopicImageStorage, field_uid(field.image_sha256))
        for field in specimen.fields
    }
    for cell in specimen.cells:
        if cell.place is None or cell.result is None or cell.result.box is None:
            continue
        if cell.label is None and not cell.needs_review:
            continue
        label = cell.label or UNIDENTIFIED
        yield _region(
            TrackingIdentifier(
                derived_uid("cell", specimen.differential_id, cell.cell_id), f"Cell {cell.number}"
            ),
            label,
            cell.result.box,
            images[cell.place.number],
            list(_judged(label, cell.needs_review, site)),
            site,
        )


def _region(
    tracking: TrackingIdentifier,
    label: str,
    box: Box,
    image: SourceImageForRegion,
    evaluations: list[QualitativeEvaluation],
    site: Site,
    *,
    algorithm: AlgorithmIdentification | None = None,
    measurements: list[Measurement] | None = None,
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """A cell with its place in an image (TID 1410, SCOORD)."""
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        referenced_region=ImageRegion(GraphicTypeValues.POLYLINE, _corners(box), image),
        finding_type=concept(class_code(label, site)),
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _corners(box: Box) -> NDArray[np.float64]:
    """The box as a closed line, ``[5, 2]`` of column and row from the outer corner of the first pixel."""
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])


def _field_stand_in(study: StudyContext, image_size: tuple[int, int], image_sha256: str) -> Dataset:
    known = _stand_in(study, VLMicroscopicImageStorage, field_uid(image_sha256))
    known.SeriesInstanceUID = derived_uid("fields", study.study_uid)
    known.Rows, known.Columns = image_size
    return known


def _field_in_words(number: int, image_size: tuple[int, int], image_sha256: str) -> str:
    height, width = image_size
    return (
        f"Field {number} has {width} x {height} pixels and the SHA-256 {image_sha256}; regions in it name it "
        f"as {field_uid(image_sha256)}."
    )


def _summary(differential: Differential, algorithm: AlgorithmIdentification | None) -> Group:
    numbers = (
        (coding.CELLS_COUNTED, differential.cells_counted),
        (coding.CELLS_UNREVIEWED, len(differential.review_list)),
        (coding.CELLS_WAITING, differential.cells_waiting),
        (coding.CELLS_FAILED, differential.cells_failed),
        (coding.MINIMUM_CELLS, differential.min_cells),
    )
    measurements = [_measured(code, number, coding.CELLS, 0) for code, number in numbers]
    total = differential.specimen.order.total_wbc
    if total is not None:
        measurements.append(_measured(coding.TOTAL_WBC, total, coding.PER_NANOLITRE, _ABSOLUTE_DIGITS))
    state = differential.specimen.device_state
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracked(differential, "Specimen"),
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=None
        if state is None
        else [_evaluated(coding.DEVICE_STATE, coding.device_state(state))],
    )


def _class_measurements(count: ClassCount, site: Site, shift: float | None) -> Iterator[Measurement]:
    yield _measured(coding.CELLS_OF_CLASS, count.count, coding.CELLS, 0)
    unit = coding.unit_of(count)
    if count.percentage is not None:
        yield _measured(coding.share(count, site.method), count.percentage, unit, _PERCENT_DIGITS)
        yield from _limits(count.interval, unit, _PERCENT_DIGITS)
    if count.absolute is not None:
        code = coding.absolute(count.label, site.method)
        yield _measured(code, count.absolute, coding.PER_NANOLITRE, _ABSOLUTE_DIGITS)
        yield from _limits(count.absolute_interval, coding.PER_NANOLITRE, _ABSOLUTE_DIGITS)
    if count.reference is not None and count.percentage is not None:
        yield _measured(dicom_codes.RANGE_LOW, count.reference.low, unit, _PERCENT_DIGITS)
        yield _measured(dicom_codes.RANGE_HIGH, count.reference.high, unit, _PERCENT_DIGITS)
    if shift is not None:
        yield _measured(coding.LABEL_SHIFT, 100 * shift, coding.PERCENT, _PERCENT_DIGITS)


def _limits(interval: Range | None, unit: Unit, digits: int) -> Iterator[Measurement]:
    if interval is not None:
        yield _measured(dicom_codes.INTERVAL_LOW, interval.low, unit, digits)
        yield _measured(dicom_codes.INTERVAL_HIGH, interval.high, unit, digits)


def _measured(code: Code, value: float, unit: Unit, digits: int) -> Measurement:
    rounded = round(value, digits) + 0.0  # not -0.0
    number = int(rounded) if digits == 0 else rounded
    return Measurement(concept(code), number, dicom_codes.unit(unit))


def _evaluated(name: Code, value: Code) -> QualitativeEvaluation:
    return QualitativeEvaluation(concept(name), concept(value))


def _tracked(differential: Differential, label: str) -> TrackingIdentifier:
    return TrackingIdentifier(derived_uid("group", differential.specimen.differential_id, label), label)


def _algorithm(models: Sequence[ModelIdentity], *details: str) -> AlgorithmIdentification | None:
    """The model by its name, version and hash; where several answered, all of them, in one entry each."""
    if not models:
        return None
    parameters = [f"{m.name}/{m.version} sha256: {m.sha256 or 'unknown'}, on {m.server}" for m in models]
    return AlgorithmIdentification(
        name=", ".join(dict.fromkeys(model.name for model in models)),
        version=", ".join(dict.fromkeys(str(model.version) for model in models)),
        parameters=[*parameters, *details],
        manufacturer=MANUFACTURER,
    )


def _profiles(differential: Differential) -> set[str]:
    results = (cell.result for cell in differential.specimen.cells if cell.result)
    return {_profile(result) for result in results}


def _profile(of: Analysis | CellResult | FieldAnalysis) -> str:
    words = f"profile: {of.profile}" + ("" if of.profile_sha256 is None else f" sha256: {of.profile_sha256}")
    return words if of.head is None else f"{words} head: {of.head}"

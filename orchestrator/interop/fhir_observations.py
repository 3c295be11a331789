"""The Observations of a differential: what was counted, each class's share and number, and single cells."""

from typing import Any, Final

from orchestrator.domain import DISCLAIMER, DeviceState
from orchestrator.interop import coding
from orchestrator.interop.coding import Code
from orchestrator.interop.fhir_elements import (
    AI_ASSERTED,
    Json,
    concept,
    note,
    person,
    plain,
    quantity,
    range_of,
    reference,
    resource_id,
)
from orchestrator.interop.fhir_elements import instant as fhir_instant
from orchestrator.interop.reporting import METHOD, notes, phase, profile_words, results_at
from orchestrator.interop.site import OrderContext, Site
from orchestrator.labels import slug
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import ClassCount, Comment, Differential, SpecimenCell

PERCENT_DIGITS: Final = 2
ABSOLUTE_DIGITS: Final = 3
PROBABILITY_DIGITS: Final = 4

_CATEGORY: Final = Code(
    "http://terminology.hl7.org/CodeSystem/observation-category", "laboratory", "Laboratory"
)
_INTERPRETATION: Final = {
    # "N" is not among them: within a range is not the same as normal.
    "high": Code("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "H", "High"),
    "low": Code("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "L", "Low"),
}
_NOT_CALCULATED: Final = Code(
    "http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-performed", "Not Performed"
)
_CELL_METHOD: Final = "Classification of one cell's image by a neural network"


class Observations:
    """Writes the Observations of one differential about one Specimen resource and by one Device resource."""

    def __init__(
        self,
        differential: Differential,
        site: Site,
        context: OrderContext,
        *,
        specimen: Json,
        device: Json,
        subject: Json | None,
    ) -> None:
        self._differential = differential
        self._site = site
        self._context = context
        self._specimen = specimen
        self._device = device
        self._subject = subject

    def summary(self) -> Json:
        """How many cells the differential rests on, how many it still misses, and what people wrote before
        the signature."""
        differential = self._differential
        components = [
            (coding.CELLS_UNREVIEWED, len(differential.review_list)),
            (coding.CELLS_WAITING, differential.cells_waiting),
            (coding.CELLS_FAILED, differential.cells_failed),
            (coding.MINIMUM_CELLS, differential.min_cells),
        ]
        return self._observation("cells-counted", coding.CELLS_COUNTED) | {
            "valueQuantity": quantity(differential.cells_counted, coding.CELLS, 0),
            "note": [
                *note(*notes(differential)),
                *self._comments(),
            ],
            "component": [
                *(_count(code, number) for code, number in components),
                *_device(differential.specimen.device_state),
            ],
        }

    def classes(self) -> list[Json]:
        """Each label's share of the cells, or their number where it has none, in the order of the
        differential."""
        return [self._percentage(count) for count in self._differential.counts]

    def absolutes(self, shares: list[Json]) -> list[Json]:
        """Each label's cells per volume, derived from its share; none without a total, nor of what is no
        white cell."""
        total = self._differential.specimen.order.total_wbc
        if total is None:
            return []
        pairs = zip(self._differential.counts, shares, strict=True)
        return [
            self._absolute(count, total, share)
            for count, share in pairs
            if count.denominator == "white_cells"
        ]

    def cells(self) -> list[Json]:
        """One for each cell that is counted: as what, the model's probabilities, a person's decision.

        A person may name a cell whose image could not be analysed: that one has no probabilities.
        """
        counted = ((cell, cell.label) for cell in self._differential.specimen.cells)
        return [self._cell(cell, label) for cell, label in counted if label is not None]

    def addenda(self) -> list[Json]:
        """One for each addendum: by a person, and of no device."""
        return [self._addendum(addendum) for addendum in self._differential.specimen.addenda]

    def _addendum(self, addendum: Comment) -> Json:
        observation = self._observation(f"addendum/{addendum.number}", coding.COMMENT)
        for of_models in ("meta", "method", "device"):
            del observation[of_models]
        return observation | {
            "issued": fhir_instant(addendum.said_at),
            "performer": [person(addendum.person)],
            "valueString": plain(addendum.text),
        }

    def _percentage(self, count: ClassCount) -> Json:
        code = coding.share(count, self._site.method)
        observation = self._observation(f"percentage/{count.label}", code)
        components = [_count(coding.CELLS_OF_CLASS, count.count)]
        unit = coding.unit_of(count)
        if count.denominator == "none" and phase(self._differential) != "cancelled":
            observation["valueQuantity"] = quantity(count.count, unit, 0)
        elif count.percentage is None:
            observation["dataAbsentReason"] = concept(_NOT_CALCULATED)
        else:
            observation["valueQuantity"] = quantity(count.percentage, unit, PERCENT_DIGITS)
        if count.interval is not None:
            components.append(
                {
                    "code": _interval_code(),
                    "valueRange": range_of(count.interval, unit, PERCENT_DIGITS),
                }
            )
        shift = self._differential.label_shift
        if shift is not None and count.label in CLASS_NAMES:
            share = 100 * shift[CLASS_NAMES.index(count.label)]
            components.append(
                {
                    "code": concept(coding.LABEL_SHIFT),
                    "valueQuantity": quantity(share, coding.PERCENT, PERCENT_DIGITS),
                }
            )
        if count.flag is not None:
            observation["interpretation"] = [concept(_INTERPRETATION[count.flag])]
        if count.reference is not None:
            limits = range_of(count.reference, unit, PERCENT_DIGITS)
            source = self._differential.reference_source
            observation["referenceRange"] = [limits | ({"text": plain(source)} if source else {})]
        return observation | {"component": components}

    def _absolute(self, count: ClassCount, total: float, share: Json) -> Json:
        code = coding.absolute(count.label, self._site.method)
        observation = self._observation(f"absolute/{count.label}", code)
        if count.absolute is None:
            observation["dataAbsentReason"] = concept(_NOT_CALCULATED)
        else:
            observation["valueQuantity"] = quantity(count.absolute, coding.PER_NANOLITRE, ABSOLUTE_DIGITS)
        # As a component, and not as a result of its own: it was measured elsewhere, and is there already.
        components: list[Json] = [
            {
                "code": concept(coding.TOTAL_WBC),
                "valueQuantity": quantity(total, coding.PER_NANOLITRE, ABSOLUTE_DIGITS),
            }
        ]
        if count.absolute_interval is not None:
            limits = range_of(count.absolute_interval, coding.PER_NANOLITRE, ABSOLUTE_DIGITS)
            components.append({"code": _interval_code(), "valueRange": limits})
        return observation | {"derivedFrom": [reference(share)], "component": components}

    def _cell(self, cell: SpecimenCell, label: str) -> Json:
        observation = self._observation(f"cell/{cell.cell_id}", coding.CELL_CLASS)
        components: list[Json] = []
        said = [DISCLAIMER, f"Cell {cell.number}, image SHA-256 {cell.image_sha256}."]
        if cell.needs_review and cell.result is not None:
            said.append(f"Waits for a person: {', '.join(cell.result.review_codes)}.")
        if cell.result is not None:
            observation["issued"] = fhir_instant(cell.result.analysed_at)
            routing = "" if cell.result.decided_by is None else f", routing: {cell.result.decided_by}"
            said.append(f"{profile_words(cell.result)}, views: {cell.result.views}{routing}.")
            found = self._label(cell.result.class_name)
            components.append({"code": concept(coding.MODEL_CLASS), "valueCodeableConcept": found})
            components += _device(cell.result.device_state)
            components += [
                {
                    "code": concept(coding.probability(name)),
                    "valueQuantity": quantity(value, coding.RATIO, PROBABILITY_DIGITS),
                }
                for name, value in zip(CLASS_NAMES, cell.result.probabilities, strict=True)
            ]
            if cell.result.not_wbc is not None:
                value = quantity(cell.result.not_wbc, coding.RATIO, PROBABILITY_DIGITS)
                components.append({"code": concept(coding.NOT_WBC), "valueQuantity": value})
        if cell.decision is not None:
            observation["issued"] = fhir_instant(cell.decision.decided_at)
            observation["performer"] = [person(cell.decision.person)]
            decided = self._label(cell.decision.label)
            components.append({"code": concept(coding.DECISION), "valueCodeableConcept": decided})
        return observation | {
            "method": {"text": _CELL_METHOD},
            "valueCodeableConcept": self._label(label),
            "note": [
                *note(*said),
                *self._comments(cell),
            ],
            "component": components,
        }

    def _comments(self, of: SpecimenCell | None = None) -> list[Json]:
        """On a cell, or on all of them and the specimen, as annotations; no addenda."""
        specimen = self._differential.specimen
        cells = {cell.cell_id: f"Cell {cell.number}: " for cell in specimen.cells if of is None}
        return [
            {
                "authorReference": person(comment.person),
                "time": fhir_instant(comment.said_at),
                "text": plain(cells.get(comment.cell_id or "", "") + comment.text),
            }
            for comment in specimen.comments
            if not comment.is_addendum and (of is None or comment.cell_id == of.cell_id)
        ]

    def _label(self, label: str) -> Json:
        own = Code(coding.OWN, slug(label), label)
        snomed = self._site.snomed.get(label)
        return concept(own, *([Code("http://snomed.info/sct", snomed, label)] if snomed else []))

    def _observation(self, kind: str, code: Code) -> Json:
        """What all of them have in common."""
        differential = self._differential
        observation: dict[str, Any] = {
            "resourceType": "Observation",
            "id": resource_id(differential.specimen.differential_id, kind),
            "meta": AI_ASSERTED,
            "identifier": [
                {
                    "system": "urn:wbc-analyzer:observation",
                    "value": f"{differential.specimen.differential_id}/{kind}",
                }
            ],
            "status": phase(differential),
            "category": [concept(_CATEGORY)],
            "code": concept(code),
            "issued": fhir_instant(results_at(differential)),
            "method": {"text": METHOD},
            "note": note(DISCLAIMER),
            "specimen": reference(self._specimen),
            "device": reference(self._device),
        }
        if self._subject is not None:
            observation["subject"] = reference(self._subject)
        if self._context.collected_at is not None:
            observation["effectiveDateTime"] = fhir_instant(self._context.collected_at)
        return observation


def _interval_code() -> Json:
    return concept(coding.CONFIDENCE_INTERVAL) | {
        "text": "Exact 95 % confidence interval (Clopper and Pearson)"
    }


def _device(state: DeviceState | None) -> list[Json]:
    """How far the microscope is known; nothing before the first result."""
    if state is None:
        return []
    found = concept(coding.device_state(state))
    return [{"code": concept(coding.DEVICE_STATE), "valueCodeableConcept": found}]


def _count(code: Code, number: int) -> Json:
    return {"code": concept(code), "valueQuantity": quantity(number, coding.CELLS, 0)}

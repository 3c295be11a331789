"""What a site configures, and what only the laboratory knows of an order; both are facts, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.interop.hl7v2_text import CharacterSet

CountMethod = Literal["unspecified", "automated", "manual"]
"""Which LOINC codes stand for the counts. A network's count of selected images that a person reviews is
neither an analyser's nor a person's, so that ``unspecified`` is the default; method and device are stated
beside."""

ProcessingId = Literal["P", "T", "D"]
"""HL7 table 0103: production, training, debugging."""


@dataclass(frozen=True, slots=True)
class Site:
    """How one laboratory wants its messages.

    ``processing_id`` is ``T`` by default: a receiver in production must be told on purpose that results which
    are for research use only are meant for it. ``specimen_system`` and ``patient_system`` are the URIs of the
    laboratory's identifiers in FHIR; ``patient_authority`` is the assigning authority and
    ``character_set`` that of messages in HL7 v2. ``snomed``
    maps labels of cells to SNOMED CT codes, for sites with a licence; none by default.
    """

    method: CountMethod = "unspecified"
    sending_application: str = "WBC-ANALYZER"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: ProcessingId = "T"
    specimen_system: str = "urn:wbc-analyzer:specimen"
    patient_system: str = "urn:wbc-analyzer:patient"
    patient_authority: str = ""
    character_set: CharacterSet = "UTF-8"
    snomed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose specimen it is; the service itself neither asks for this nor keeps it."""

    identifier: str
    family: str = ""
    given: str = ""


@dataclass(frozen=True, slots=True)
class OrderContext:
    """What whoever sends a message may add to it: the patient, the number of the order that it answers, and
    when the blood was drawn (aware)."""

    patient: Patient | None = None
    placer_order: str | None = None
    collected_at: datetime | None = None


DEFAULT_SITE: Final = Site()
NO_CONTEXT: Final = OrderContext()

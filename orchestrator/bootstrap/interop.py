"""What the settings say of other systems' formats."""

from types import MappingProxyType

from orchestrator.errors import ConfigurationError
from orchestrator.interop.site import Site
from orchestrator.settings import InteropSettings
from orchestrator.specimen import CELL_LABELS


def site_of(settings: InteropSettings) -> Site:
    """Raises :class:`~orchestrator.errors.ConfigurationError` where a SNOMED code is of an unknown label."""
    unknown = set(settings.snomed) - set(CELL_LABELS)
    if unknown:
        raise ConfigurationError(
            f"WBC_INTEROP__SNOMED: expected some of {', '.join(CELL_LABELS)}, received {len(unknown)} others"
        )
    return Site(
        method=settings.method,
        sending_application=settings.sending_application,
        sending_facility=settings.sending_facility,
        receiving_application=settings.receiving_application,
        receiving_facility=settings.receiving_facility,
        processing_id=settings.processing_id,
        specimen_system=settings.specimen_system,
        patient_system=settings.patient_system,
        patient_authority=settings.patient_authority,
        character_set=settings.character_set,
        snomed=MappingProxyType(dict(settings.snomed)),
    )

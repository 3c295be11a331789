"""What the settings say of other systems' formats."""

from types import MappingProxyType

from orchestrator.errors import ConfigurationError
from orchestrator.interop.site import Site
from orchestrator.settings import Settings
from orchestrator.specimens.site_labels import load_labels


def site_of(of: Settings) -> Site:
    """How a site wants its messages.

    Raises :class:`~orchestrator.errors.ConfigurationError` where a SNOMED code is of an unknown label, or the
    site's own labels are wrong.
    """
    settings = of.interop
    labels = load_labels(of.differential.labels, of.differential.smudge)
    unknown = [name for name in settings.snomed if name not in labels]
    if unknown:
        known = ", ".join(label.name for label in labels)
        raise ConfigurationError(
            f"WBC_INTEROP__SNOMED: expected some of {known}, received {len(unknown)} others"
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

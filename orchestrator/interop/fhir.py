"""A differential as a FHIR R4 (4.0.1) Bundle, https://hl7.org/fhir/R4/.

A DiagnosticReport leads to one Observation for each class (and, where a total is known, one for its absolute
count), to the Specimen, the Devices that are the models and this service, and a Provenance of who had which
part. Everything that a model had a part in carries the security label AIAST. No text of a report writer is
in it: ``conclusion`` belongs to the person who draws it.

Comments are annotations of the Observation that they are about. An addendum is an Observation of its own,
which is added to a report that stays as it was: R4 calls its status ``appended``.

Resources are plain documents and depend on no library; tests validate them against the official JSON schema.
"""

from typing import Final, Literal

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.interop import coding
from orchestrator.interop.coding import Code
from orchestrator.interop.fhir_elements import (
    AI_ASSERTED,
    Json,
    concept,
    instant,
    narrative,
    note,
    person,
    plain,
    reference,
    resource_id,
)
from orchestrator.interop.fhir_observations import Observations
from orchestrator.interop.reporting import (
    decided_by,
    issued_at,
    notes,
    number,
    phase,
    profile_words,
    profiles,
    remarks,
    reported,
)
from orchestrator.interop.site import DEFAULT_SITE, NO_CONTEXT, OrderContext, Patient, Site
from orchestrator.specimen import ClassCount, Differential

BundleType = Literal["transaction", "collection"]

MEDIA_TYPE: Final = "application/fhir+json"

_HAEMATOLOGY: Final = Code("http://terminology.hl7.org/CodeSystem/v2-0074", "HM", "Hematology")
_WHOLE_BLOOD: Final = Code("http://terminology.hl7.org/CodeSystem/v2-0487", "BLD", "Whole blood")
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def bundle(
    differential: Differential,
    site: Site = DEFAULT_SITE,
    context: OrderContext = NO_CONTEXT,
    *,
    bundle_type: BundleType = "transaction",
    per_cell: bool = False,
) -> Json:
    """The whole differential; ids are the same whenever it is written.

    ``bundle_type`` is ``transaction`` for a server, where each resource replaces its former self, and
    ``collection`` for a file; ``per_cell`` adds one Observation for each cell, with the model's
    probabilities.
    """
    differential = reported(differential)
    key = differential.specimen.differential_id
    patient = None if context.patient is None else _patient(context.patient, site)
    specimen = _specimen(differential, site, context, patient)
    service = _service_device(differential)
    models = [_model_device(model, service) for model in differential.models]
    observations = Observations(
        differential,
        site,
        context,
        specimen=specimen,
        device=models[0] if len(models) == 1 else service,
        subject=patient,
    )
    shares = observations.classes()
    results = [observations.summary(), *shares, *observations.absolutes(shares)]
    addenda = observations.addenda()
    cells = observations.cells() if per_cell else []
    report = _report(differential, site, context, specimen, [*results, *addenda], patient)
    provenance = _provenance(differential, [report, *results, *cells], service, models)
    resources = [
        report,
        *results,
        *addenda,
        *cells,
        specimen,
        *([patient] if patient else []),
        service,
        *models,
        provenance,
    ]
    return {
        "resourceType": "Bundle",
        "id": resource_id(key, "bundle"),
        "meta": AI_ASSERTED,
        "identifier": {"system": "urn:wbc-analyzer:bundle", "value": plain(key)},
        "type": bundle_type,
        "entry": [_entry(resource, bundle_type) for resource in resources],
    }


def _entry(resource: Json, bundle_type: BundleType) -> Json:
    entry: Json = {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}
    if bundle_type == "transaction":
        entry["request"] = {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
    return entry


def _report(
    differential: Differential,
    site: Site,
    context: OrderContext,
    specimen: Json,
    results: list[Json],
    patient: Json | None,
) -> Json:
    key, signature = differential.specimen.differential_id, differential.specimen.signature
    state = phase(differential)
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": resource_id(key, "report"),
        "meta": AI_ASSERTED,
        "text": narrative(
            f"White cell differential, {state}",
            [(count.label, _in_words(count)) for count in differential.counts],
            (*notes(differential), *remarks(differential)),
        ),
        "identifier": [{"system": "urn:wbc-analyzer:differential", "value": plain(key)}],
        "status": "appended" if differential.specimen.addenda else state,
        "category": [concept(_HAEMATOLOGY)],
        "code": concept(coding.panel(site.method)),
        "issued": instant(issued_at(differential)),
        "specimen": [reference(specimen)],
        "result": [reference(result) for result in results],
    }
    if patient is not None:
        report["subject"] = reference(patient)
    if context.collected_at is not None:
        report["effectiveDateTime"] = instant(context.collected_at)
    if context.placer_order is not None:
        order = {"system": "urn:wbc-analyzer:placer-order", "value": plain(context.placer_order)}
        report["basedOn"] = [{"type": "ServiceRequest", "identifier": order}]
    if state == "final" and signature is not None:
        report["resultsInterpreter"] = [person(signature.person)]
    return report


def _in_words(count: ClassCount) -> str:
    words = f"{count.count} cell{'' if count.count == 1 else 's'}"
    if count.percentage is not None:
        words += f", {number(count.percentage, 1)} {coding.unit_of(count).display}"
    if count.interval is not None:
        words += f" ({number(count.interval.low, 1)} to {number(count.interval.high, 1)})"
    if count.absolute is not None:
        words += f", {number(count.absolute)} 10*3/uL"
    return words + (f", {count.flag}" if count.flag else "")


def _specimen(differential: Differential, site: Site, context: OrderContext, patient: Json | None) -> Json:
    order = differential.specimen.order
    specimen: Json = {
        "resourceType": "Specimen",
        "id": resource_id(differential.specimen.differential_id, "specimen"),
        "identifier": [{"system": site.specimen_system, "value": plain(order.specimen_id)}],
        "type": concept(_WHOLE_BLOOD),
        "note": note("Stained smear of blood; images of single white cells.", DISCLAIMER),
    }
    if patient is not None:
        specimen["subject"] = reference(patient)
    if context.collected_at is not None:
        specimen["collection"] = {"collectedDateTime": instant(context.collected_at)}
    return specimen


def _patient(patient: Patient, site: Site) -> Json:
    resource: Json = {
        "resourceType": "Patient",
        "id": resource_id("patient", site.patient_system, patient.identifier),
        "identifier": [{"system": site.patient_system, "value": plain(patient.identifier)}],
    }
    name: Json = {"family": plain(patient.family)} if patient.family.strip() else {}
    if patient.given.strip():
        name["given"] = [plain(patient.given)]
    return resource | ({"name": [name]} if name else {})


def _service_device(differential: Differential) -> Json:
    version = differential.service_version
    return {
        "resourceType": "Device",
        "id": resource_id("service", version),
        "identifier": [{"system": "urn:wbc-analyzer:service", "value": f"wbc-analyzer {version}"}],
        "deviceName": [{"name": "WBC Analyzer", "type": "user-friendly-name"}],
        "type": {"text": "Software: orchestrates image classification"},
        "version": [{"type": {"text": "software version"}, "value": version}],
        "note": note(DISCLAIMER),
    }


def _model_device(model: ModelIdentity, service: Json) -> Json:
    """A model is known by its name, its version and the hash of its files."""
    digest = model.sha256 or "unknown"
    identifiers = [{"system": "urn:wbc-analyzer:model", "value": f"{model.name}/{model.version}"}]
    if model.sha256 is not None:
        identifiers.append({"system": "urn:wbc-analyzer:model-sha256", "value": model.sha256})
    return {
        "resourceType": "Device",
        "id": resource_id("model", model.name, str(model.version), digest, model.server),
        "identifier": identifiers,
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "modelNumber": f"{model.name}/{model.version}",
        "type": {"text": "Software: neural network that classifies images of white blood cells"},
        "version": [{"type": {"text": "model version"}, "value": str(model.version)}],
        "property": [{"type": {"text": "model server"}, "valueCode": [{"text": model.server}]}],
        "parent": reference(service),
        "note": note(DISCLAIMER),
    }


def _provenance(differential: Differential, targets: list[Json], service: Json, models: list[Json]) -> Json:
    agents = [_agent("author", "Author", reference(model)) for model in models]
    agents.append(_agent("assembler", "Assembler", reference(service)))
    agents += [_agent("verifier", "Verifier", person(name)) for name in decided_by(differential)]
    signature = differential.specimen.signature
    if phase(differential) == "final" and signature is not None:
        agents.append(_agent("legal", "Legal Authenticator", person(signature.person)))
    return {
        "resourceType": "Provenance",
        "id": resource_id(differential.specimen.differential_id, "provenance"),
        "meta": AI_ASSERTED,
        "target": [reference(target) for target in targets],
        "recorded": instant(issued_at(differential)),
        "activity": {"text": "White cell differential from images of single cells"},
        "agent": agents,
        **_profile_entities(differential),
    }


def _profile_entities(differential: Differential) -> Json:
    """The device profiles that the models' answers were decided with; none before the first answer."""
    entities = []
    for result in profiles(differential):
        what: Json = {"display": plain(profile_words(result))}
        if result.profile_sha256 is not None:
            what["identifier"] = {
                "system": "urn:wbc-analyzer:profile-sha256",
                "value": result.profile_sha256,
            }
        entities.append({"role": "source", "what": what})
    return {"entity": entities} if entities else {}


def _agent(code: str, display: str, who: Json) -> Json:
    return {"type": concept(Code(_PARTICIPATION, code, display)), "who": who}

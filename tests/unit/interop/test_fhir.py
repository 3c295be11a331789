import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.emulator.examples import AWKWARD_TEXT, examples, signed
from orchestrator.interop import coding, fhir_check
from orchestrator.interop.fhir import bundle
from orchestrator.interop.fhir_elements import instant, narrative, plain
from orchestrator.interop.site import OrderContext, Patient, Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import CellDecision, Signature

EXAMPLES = examples()
FINAL = EXAMPLES["final"].differential
PRELIMINARY = EXAMPLES["preliminary"].differential
TOO_FEW = EXAMPLES["too_few_cells"].differential

Json = dict[str, Any]


def resources(document: Json, kind: str) -> list[Json]:
    return [e["resource"] for e in document["entry"] if e["resource"]["resourceType"] == kind]


def observation(document: Json, code: str) -> Json:
    (found,) = [o for o in resources(document, "Observation") if o["code"]["coding"][0]["code"] == code]
    return found


def component(resource: Json, code: str) -> Json | None:
    found = [c for c in resource.get("component", []) if c["code"]["coding"][0]["code"] == code]
    return found[0] if found else None


def ends(limits: Json) -> tuple[float, float]:
    return limits["low"]["value"], limits["high"]["value"]


@pytest.mark.parametrize("bundle_type", ["transaction", "collection"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_bundle_is_valid_by_the_schema_of_fhir_r4(name, bundle_type, problems_by_schema):
    example = EXAMPLES[name]
    document = bundle(
        example.differential, context=example.context, bundle_type=bundle_type, per_cell=example.per_cell
    )
    assert problems_by_schema(document) == []


@pytest.mark.parametrize("name", ["final", "too_few_cells", "awkward_text", "cancelled"])
def test_every_bundle_is_valid_by_the_models_of_r4b_and_our_own_rules(name):
    example = EXAMPLES[name]
    assert fhir_check.can_validate()
    document = bundle(example.differential, context=example.context, per_cell=example.per_cell)
    assert fhir_check.problems(json.loads(json.dumps(document))) == []


@pytest.mark.parametrize("method", ["unspecified", "automated", "manual"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_figure_of_the_differential_can_be_read_back(name, method):
    example = EXAMPLES[name]
    differential = example.differential
    document = bundle(differential, Site(method=method), example.context)
    is_cancelled = differential.specimen.state == "cancelled"
    for count in differential.counts:
        share = observation(document, coding.share(count, method).code)
        assert component(share, "cells-of-class")["valueQuantity"]["value"] == count.count
        if count.denominator == "none":
            assert (share["valueQuantity"]["value"], share["valueQuantity"]["code"]) == (
                count.count,
                "{cells}",
            )
            assert component(share, "CI") is None
        elif count.percentage is None or is_cancelled:
            assert "valueQuantity" not in share
            assert share["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
            assert component(share, "CI") is None
        else:
            assert share["valueQuantity"] == {
                "value": pytest.approx(count.percentage, abs=0.005),
                "unit": "%" if count.denominator == "white_cells" else "/100 WBC",
                "system": "http://unitsofmeasure.org",
                "code": "%" if count.denominator == "white_cells" else "/100{WBCs}",
            }
            interval = component(share, "CI")["valueRange"]
            assert ends(interval) == pytest.approx((count.interval.low, count.interval.high), abs=0.005)
        flags = [] if count.flag is None or is_cancelled else [count.flag[0].upper()]
        assert [i["coding"][0]["code"] for i in share.get("interpretation", [])] == flags
        if count.reference is None:
            assert "referenceRange" not in share
        else:
            assert ends(share["referenceRange"][0]) == (count.reference.low, count.reference.high)
            assert share["referenceRange"][0]["text"] == differential.reference_source
        if count.absolute is not None and not is_cancelled:
            volume = observation(document, coding.absolute(count.label, method).code)
            assert volume["valueQuantity"]["value"] == pytest.approx(count.absolute, abs=0.0005)
            assert volume["valueQuantity"]["code"] == "10*3/uL"
            assert volume["derivedFrom"][0]["reference"] == f"urn:uuid:{share['id']}"
        if differential.label_shift is not None and count.label in CLASS_NAMES and not is_cancelled:
            shift = component(share, "label-shift-estimate")["valueQuantity"]["value"]
            assert shift == pytest.approx(100 * differential.label_shift[CLASS_NAMES.index(count.label)])
    (report,) = resources(document, "DiagnosticReport")
    assert report["code"]["coding"][0]["code"] == coding.panel(method).code
    summary = observation(document, "cells-counted")
    assert summary["valueQuantity"]["value"] == differential.cells_counted
    for code, number in {
        "cells-unreviewed": len(differential.review_list),
        "cells-waiting": differential.cells_waiting,
        "cells-failed": differential.cells_failed,
        "minimum-cells": differential.min_cells,
    }.items():
        assert component(summary, code)["valueQuantity"]["value"] == number


@pytest.mark.parametrize(("name", "state"), [("final", "known"), ("unknown_device", "unknown")])
def test_it_says_how_far_the_microscope_is_known_of_the_specimen_and_of_each_cell(name, state):
    document = bundle(EXAMPLES[name].differential, per_cell=True)
    for found in resources(document, "Observation"):
        code = found["code"]["coding"][0]["code"]
        if code in ("cells-counted", "cell-class"):
            told = component(found, "device-state")["valueCodeableConcept"]["coding"][0]["code"]
            assert told == f"device-{state}"
    (report,) = resources(document, "DiagnosticReport")
    assert ("The microscope is unknown to the service" in report["text"]["div"]) == (state == "unknown")


def test_before_the_first_result_nothing_is_said_of_the_microscope():
    waiting = replace(TOO_FEW.specimen, cells=TOO_FEW.specimen.cells[-1:])
    assert "device-state" not in json.dumps(bundle(replace(TOO_FEW, specimen=waiting)))


def test_there_are_absolute_counts_only_with_a_total_and_the_total_is_no_result_of_its_own():
    def codes(name: str) -> set[str]:
        document = bundle(EXAMPLES[name].differential)
        return {o["code"]["coding"][0]["code"] for o in resources(document, "Observation")}

    absolutes = {coding.absolute(label, "unspecified").code for label in CLASS_NAMES}
    assert codes("without_total").isdisjoint(absolutes)
    assert codes("preliminary") >= absolutes
    assert coding.TOTAL_WBC.code not in codes("preliminary")


def test_too_few_cells_give_no_percentage_and_say_why():
    document = bundle(TOO_FEW)
    (report,) = resources(document, "DiagnosticReport")
    assert "at least 100 are needed" in report["text"]["div"]
    shares = [o for o in resources(document, "Observation") if "/Leukocytes" in o["code"]["text"]]
    assert len(shares) == 6
    assert not any("valueQuantity" in share for share in shares)


def statuses(differential: Any) -> set[str]:
    document = bundle(differential, per_cell=True)
    found = [*resources(document, "DiagnosticReport"), *resources(document, "Observation")]
    return {resource["status"] for resource in found}


def test_a_report_is_final_only_where_a_person_signed():
    assert statuses(FINAL) == {"final"}
    assert statuses(PRELIMINARY) == {"preliminary"}
    assert statuses(TOO_FEW) == {"preliminary"}
    assert statuses(EXAMPLES["cancelled"].differential) == {"cancelled"}
    signature = Signature("dr.demir", FINAL.computed_at)
    for state, by in (("signed", None), ("analysed", signature), ("running", signature)):
        specimen = replace(PRELIMINARY.specimen, state=state, signature=by)
        assert statuses(replace(PRELIMINARY, specimen=specimen)) == {"preliminary"}


def test_an_addendum_is_appended_as_a_persons_observation_and_nothing_else_changes():
    differential = EXAMPLES["addendum"].differential
    before = bundle(replace(differential, specimen=replace(differential.specimen, comments=())))
    document = bundle(differential)
    (report,), (first,) = resources(document, "DiagnosticReport"), resources(before, "DiagnosticReport")
    assert (report["status"], first["status"]) == ("appended", "final")
    added = resources(document, "Observation")[-2:]
    assert report["result"][:-2] == first["result"]
    assert [one["reference"] for one in report["result"][-2:]] == [f"urn:uuid:{one['id']}" for one in added]
    assert [one["valueString"] for one in added] == ["Told to the ward by telephone.", AWKWARD_TEXT]
    assert {one["code"]["coding"][0]["code"] for one in added} == {"48767-8"}
    assert added[0]["performer"][0]["display"] == "dr.demir"
    assert [one.get("device", one.get("meta")) for one in added] == [None, None]
    assert report["issued"] == added[0]["issued"] > first["issued"]
    assert "Told to the ward by telephone." in report["text"]["div"]
    (provenance,) = resources(document, "Provenance")
    assert not {one["reference"] for one in provenance["target"]} & {f"urn:uuid:{one['id']}" for one in added}
    unchanged = resources(document, "Observation")[1:-2]
    assert unchanged == resources(before, "Observation")[1:]


def test_comments_are_annotations_of_the_specimens_observation_and_of_the_cells_own():
    differential = EXAMPLES["addendum"].differential
    document = bundle(differential, per_cell=True)

    def annotations(resource: Json) -> list[tuple[str, str]]:
        return [(n["authorReference"]["display"], n["text"]) for n in resource["note"] if "time" in n]

    assert annotations(observation(document, coding.CELLS_COUNTED.code)) == [
        ("dr.demir", "Cell 3: Vacuoles."),
        ("dr.demir", "Thick smear:\nstained anew."),
    ]
    cells = [o for o in resources(document, "Observation") if "Cell 3, image" in str(o["note"])]
    assert [annotations(cell) for cell in cells] == [[("dr.demir", "Vacuoles.")]]


def test_who_signed_interprets_and_authenticates_and_who_decided_verifies():
    document = bundle(FINAL)
    (report,), (provenance,) = resources(document, "DiagnosticReport"), resources(document, "Provenance")
    assert report["resultsInterpreter"][0]["identifier"]["value"] == "dr.demir"
    roles = {agent["type"]["coding"][0]["code"]: agent["who"] for agent in provenance["agent"]}
    assert set(roles) == {"author", "assembler", "verifier", "legal"}
    assert roles["legal"]["identifier"]["value"] == "dr.demir"
    assert "legal" not in str(resources(bundle(PRELIMINARY), "Provenance"))


def test_the_model_is_a_device_with_name_version_and_hash():
    document = bundle(FINAL)
    model, service = FINAL.models[0], FINAL.service_version
    devices = resources(document, "Device")
    told = json.dumps(devices)
    for fact in (model.sha256, f"{model.name}/{model.version}", service, "embedded"):
        assert fact in told
    (network,) = [d for d in devices if "parent" in d]
    everything = resources(document, "Observation")
    assert {o["device"]["reference"] for o in everything} == {f"urn:uuid:{network['id']}"}


def test_the_profiles_that_decided_are_told_by_their_hashes():
    cells = list(TOO_FEW.specimen.cells)
    for number, (name, digest) in enumerate([("cellavision-dm96", "b" * 64), ("other", None)]):
        assert cells[number].result is not None
        changed = replace(cells[number].result, profile=name, profile_sha256=digest)
        cells[number] = replace(cells[number], result=changed)
    document = bundle(replace(TOO_FEW, specimen=replace(TOO_FEW.specimen, cells=tuple(cells))), per_cell=True)
    (provenance,) = resources(document, "Provenance")
    told = {one["what"]["display"]: one["what"].get("identifier") for one in provenance["entity"]}
    assert cells[2].result is not None
    usual = cells[2].result.profile_sha256
    system = "urn:wbc-analyzer:profile-sha256"
    assert told == {
        f"Device profile cellavision-dm96, SHA-256 {usual}": {"system": system, "value": usual},
        f"Device profile cellavision-dm96, SHA-256 {'b' * 64}": {"system": system, "value": "b" * 64},
        "Device profile other": None,
    }
    notes = [o["note"] for o in resources(document, "Observation") if "Cell 1," in str(o["note"])]
    assert f"Device profile cellavision-dm96, SHA-256 {'b' * 64}, views: 8." in [
        said["text"] for said in notes[0]
    ]
    assert fhir_check.problems(document) == []
    waiting = replace(TOO_FEW.specimen, cells=TOO_FEW.specimen.cells[-3:])
    (none_yet,) = resources(bundle(replace(TOO_FEW, specimen=waiting)), "Provenance")
    assert "entity" not in none_yet


def test_several_models_are_several_devices_and_the_report_says_so():
    other = ModelIdentity("wbc", 5, None, "tf-serving")
    document = bundle(replace(FINAL, models=(*FINAL.models, other)))
    assert len(resources(document, "Device")) == 3
    assert "More than one model" in resources(document, "DiagnosticReport")[0]["text"]["div"]
    assert fhir_check.problems(document) == []


def test_all_that_a_model_had_a_part_in_is_marked_and_says_for_research_only():
    document = bundle(FINAL, per_cell=True)
    for kind in ("DiagnosticReport", "Observation", "Provenance"):
        for resource in resources(document, kind):
            assert resource["meta"]["security"][0]["code"] == "AIAST"
    for resource in [*resources(document, "Observation"), *resources(document, "Device")]:
        assert DISCLAIMER in [said["text"] for said in resource["note"]]
    (report,) = resources(document, "DiagnosticReport")
    assert DISCLAIMER in report["text"]["div"]
    assert not {"conclusion", "conclusionCode", "presentedForm"} & set(report)
    assert "normal" not in json.dumps(document).lower()


def test_the_same_differential_has_the_same_ids_before_and_after_its_signature():
    def ids(document: Json) -> list[str]:
        return [entry["fullUrl"] for entry in document["entry"]]

    assert ids(bundle(PRELIMINARY, per_cell=True)) == ids(bundle(FINAL, per_cell=True))
    assert bundle(PRELIMINARY)["id"] == bundle(FINAL)["id"]
    own = {"DiagnosticReport", "Observation", "Specimen", "Provenance"}
    first, second = (
        {e["fullUrl"] for e in document["entry"] if e["resource"]["resourceType"] in own}
        for document in (bundle(FINAL), bundle(EXAMPLES["without_total"].differential))
    )
    assert first.isdisjoint(second)
    later = replace(FINAL, computed_at=instant_later())
    assert bundle(later) == bundle(FINAL)


def instant_later() -> Any:
    return FINAL.computed_at.replace(year=2031)


def test_a_transaction_puts_every_resource_and_a_collection_asks_for_nothing():
    for entry in bundle(FINAL)["entry"]:
        resource = entry["resource"]
        assert entry["request"] == {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
    assert not any("request" in entry for entry in bundle(FINAL, bundle_type="collection")["entry"])


def test_every_cell_has_its_probabilities_and_a_persons_decision():
    document = bundle(TOO_FEW, per_cell=True)
    cells = [o for o in resources(document, "Observation") if o["code"]["coding"][0]["code"] == "cell-class"]
    counted = [cell for cell in TOO_FEW.specimen.cells if cell.label is not None]
    assert [c["valueCodeableConcept"]["text"] for c in cells] == [cell.label for cell in counted]
    for resource, cell in zip(cells, counted, strict=True):
        assert cell.result is not None
        for name, probability in zip(CLASS_NAMES, cell.result.probabilities, strict=True):
            found = component(resource, f"probability-{name.lower()}")
            assert found is not None
            assert found["valueQuantity"]["value"] == probability
        assert component(resource, "probability-not-wbc")["valueQuantity"]["value"] == cell.result.not_wbc
    decided = cells[6]
    assert component(decided, "model-class")["valueCodeableConcept"]["text"] == "Eosinophil"
    assert component(decided, "decision")["valueCodeableConcept"]["text"] == "Neutrophil"
    assert decided["performer"][0]["identifier"]["value"] == "dr.demir"


def test_what_an_older_version_kept_says_nothing_of_none_of_the_five():
    cells = [cell for cell in TOO_FEW.specimen.cells if cell.label is not None]
    cells[0] = replace(cells[0], result=replace(cells[0].result, not_wbc=None))
    document = bundle(replace(TOO_FEW, specimen=replace(TOO_FEW.specimen, cells=tuple(cells))), per_cell=True)
    told = [o for o in resources(document, "Observation") if o["code"]["coding"][0]["code"] == "cell-class"]
    assert [component(o, "probability-not-wbc") is None for o in told] == [True] + [False] * (len(cells) - 1)


def test_a_cell_that_only_a_person_could_name_has_no_probabilities():
    cells = list(TOO_FEW.specimen.cells)
    cells[8] = replace(cells[8], decision=CellDecision("Monocyte", "dr.demir", TOO_FEW.computed_at))
    document = bundle(replace(TOO_FEW, specimen=replace(TOO_FEW.specimen, cells=tuple(cells))), per_cell=True)
    (named,) = [o for o in resources(document, "Observation") if "Cell 9," in str(o["note"])]
    assert named["valueCodeableConcept"]["text"] == "Monocyte"
    assert [c["code"]["text"] for c in named["component"]] == ["Decision of a person"]
    assert fhir_check.problems(document) == []


def test_codes_of_snomed_are_used_only_where_a_site_gives_them():
    assert "snomed" not in json.dumps(bundle(TOO_FEW, per_cell=True))
    site = Site(snomed={"Eosinophil": "14793004"})
    assert '"14793004"' in json.dumps(bundle(TOO_FEW, site, per_cell=True))


def test_there_is_a_patient_only_where_the_sender_names_one():
    assert "Patient" not in json.dumps(bundle(FINAL))
    context = OrderContext(Patient("4711", "Yılmaz"), "ORD-1", FINAL.computed_at)
    document = bundle(FINAL, context=context)
    (patient,) = resources(document, "Patient")
    assert patient["name"] == [{"family": "Yılmaz"}]
    (report,), (specimen,) = resources(document, "DiagnosticReport"), resources(document, "Specimen")
    assert report["subject"]["reference"] == f"urn:uuid:{patient['id']}"
    assert report["basedOn"][0]["identifier"]["value"] == "ORD-1"
    assert specimen["collection"]["collectedDateTime"] == instant(FINAL.computed_at)


def test_a_time_without_a_zone_is_refused():
    naive = replace(FINAL.specimen, signature=Signature("a", FINAL.computed_at.replace(tzinfo=None)))
    with pytest.raises(ValueError, match="zone"):
        bundle(replace(FINAL, specimen=naive))


@settings(max_examples=25)
@given(st.text(), st.text())
def test_whatever_text_comes_the_bundle_is_sound_and_its_narrative_is_xml(specimen_id, person):
    order = replace(FINAL.specimen.order, specimen_id=specimen_id)
    specimen = replace(FINAL.specimen, order=order, signature=Signature(person, FINAL.computed_at))
    document = bundle(replace(FINAL, specimen=specimen))
    json.dumps(document, ensure_ascii=False).encode()
    assert resources(document, "Specimen")[0]["identifier"][0]["value"] == plain(specimen_id)
    text = narrative(specimen_id, [(person, person)], (specimen_id,))["div"]
    assert ElementTree.fromstring(text)[0].text.split() == plain(specimen_id).split()


def test_ordinary_text_is_not_changed():
    for text in ("S-2026-1", "Öztürk 血 😀", 'a|b^c~d\\e&f "g" <h>', "two\r\nlines"):
        assert plain(text) == text
    assert plain(AWKWARD_TEXT) == AWKWARD_TEXT
    assert plain("a\x00b\ud800\x7f") == "a\ufffdb\ufffd\ufffd"
    assert plain("") == plain(" \n") == "\ufffd"


# Six labels without absolute counts, so that it is judged fast.
SMALL = bundle(signed(EXAMPLES["without_total"].differential, "dr.demir"))


def _set(path: str, value: object) -> Callable[[Json], None]:
    """Set what is at a path, such as ``0.status``, of the Bundle's resources; None takes it away."""

    def change(document: Json) -> None:
        *way, last = path.split(".")
        node: Any = [entry["resource"] for entry in document["entry"]]
        for step in way:
            node = node[int(step)] if isinstance(node, list) else node[step]
        if value is None:
            del node[last]
        else:
            node[int(last) if isinstance(node, list) else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_set("0.status", "finished"), "status is not one of FHIR R4"),
        (_set("1.status", "partial"), "status is not one of FHIR R4"),
        (_set("0.resultsInterpreter", None), "nobody interpreted it"),
        (_set("0.conclusion", "Looks fine."), "for a person to draw"),
        (_set("0.text.div", "<div xmlns='http://www.w3.org/1999/xhtml'>nothing</div>"), "research use only"),
        (_set("0.specimen.0.reference", "urn:uuid:0"), "leads nowhere"),
        (_set("0.meta", None), "AIAST"),
        # That no device stands in it does not make it a person's.
        (lambda document: [_set(f"1.{of}", None)(document) for of in ("meta", "device")], "AIAST"),
        (_set("1.note", []), "research use only"),
        (_set("2.code.coding.0.code", "30180-5"), "no LOINC code"),
        (_set("2.valueQuantity.code", "percent"), "units of UCUM"),
        (_set("2.valueQuantity", None), "expected one value"),
        (_set("2.valueString", "12"), "got multiple"),
        (_set("6.interpretation.0.coding.0.code", "N"), "never says normal"),
        (_set("1.id", "0"), "fullUrl and id differ"),
        (lambda document: document.update(type="batch"), "transaction or collection"),
        (lambda document: document["entry"].append(document["entry"][0]), "one fullUrl"),
        (lambda document: document["entry"].pop(0), "Expected one DiagnosticReport"),
        (lambda document: document["entry"][3]["request"].update(method="DELETE"), "puts the resource"),
        (lambda document: document.update(entry="none"), "Expected entries"),
        (lambda document: document.update(resourceType="Patient"), "type Bundle"),
    ],
)
def test_our_own_rules_see_what_is_wrong(change, problem):
    document = copy.deepcopy(SMALL)
    change(document)
    assert problem in "\n".join(fhir_check.problems(document))


def test_the_schema_sees_what_is_wrong(problems_by_schema):
    document = copy.deepcopy(bundle(FINAL))
    _set("0.status", "finished")(document)
    _set("2.valueQuantity.value", "many")(document)
    found = "\n".join(problems_by_schema(document))
    assert "entry 0: status" in found
    assert "entry 2: valueQuantity.value" in found


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["resourceType", "entry", "resource", "type", "meta", "code"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_is_judged_without_an_error(document):
    assert fhir_check.problems(document)

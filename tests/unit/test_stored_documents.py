import json
from dataclasses import replace

import pytest

from orchestrator.domain import Box
from orchestrator.specimen import FieldPlace
from orchestrator.store.documents import place_of, result_document, result_of
from tests.counted_cells import result


@pytest.mark.parametrize("profile_sha256", [None, "c" * 64])
def test_a_result_comes_back_from_its_document_as_it_was(profile_sha256):
    found = replace(result(probabilities=(0.1, 0.2, 0.3, 1 / 3, 0.0666)), profile_sha256=profile_sha256)
    assert result_of(result_document(found)) == found


def test_a_document_of_a_version_that_did_not_hash_profiles_is_read():
    document = json.loads(result_document(result()))
    del document["profile_sha256"]
    assert result_of(json.dumps(document)) == result()


def test_a_document_of_a_version_that_did_not_ask_for_the_microscope_is_of_an_unknown_one():
    document = json.loads(result_document(result(device_state="audited")))
    assert document.pop("device_state") == "audited"
    assert result_of(json.dumps(document)).device_state == "unknown"


def test_what_a_newer_version_kept_beside_it_does_not_keep_an_older_one_from_reading():
    box = Box(1.0, 2.0, 3.0, 4.0)
    found, place = (
        replace(result(), box=box),
        FieldPlace(1, is_cut=False, is_clump=True, is_identified=True),
    )
    document = json.loads(result_document(found, place))
    for part in (document, document["model"], document["box"], document["place"]):
        part["of_tomorrow"] = {"unit": "um", "value": 7.5}
    assert result_of(json.dumps(document)) == found
    assert place_of(json.dumps(document)) == place

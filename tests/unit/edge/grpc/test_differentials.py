"""Differentials as messages of gRPC, and back by the client."""

from dataclasses import asdict, replace

import pytest

from orchestrator.client import Differential
from orchestrator.edge.grpc.differentials import differential_message
from orchestrator.emulator.examples import examples
from orchestrator.specimen import ReleasedErrors

FINAL = examples()["final"].differential


@pytest.mark.parametrize("ended", [False, True])
def test_what_audits_know_of_the_error_comes_to_the_client(ended):
    known = ReleasedErrors({"Neutrophil": 0.04, "Monocyte": 0.02}, ended)

    message = differential_message(replace(FINAL, released_errors=known), cells=False)

    found = Differential.of(message).released_errors
    assert found is not None
    assert asdict(found) == asdict(known)
    assert Differential.of(differential_message(FINAL, cells=False)).released_errors is None

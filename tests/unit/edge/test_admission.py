import pytest
from prometheus_client import REGISTRY

from orchestrator.edge.admission import Admission, counted
from orchestrator.errors import Overloaded, UndecodableImage


def requests_counted(endpoint: str, outcome: str) -> float:
    labels = {"endpoint": endpoint, "outcome": outcome}
    return REGISTRY.get_sample_value("wbc_requests_total", labels) or 0.0


def in_flight() -> float:
    return REGISTRY.get_sample_value("wbc_requests_in_flight") or 0.0


def test_as_many_as_the_limit_are_let_in_at_once():
    admission = Admission(2)
    before = in_flight()
    with admission.admitted(), admission.admitted():
        assert in_flight() == before + 2
        with pytest.raises(Overloaded) as refused, admission.admitted():
            pass
        assert refused.value.retry_after_s > 0
        assert in_flight() == before + 2
    assert in_flight() == before
    with admission.admitted():
        pass


def test_a_failed_analysis_leaves_its_place():
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(UndecodableImage), admission.admitted():
            raise UndecodableImage("cut")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Admission(0)


def test_requests_are_counted_by_how_they_end():
    with counted("here"):
        pass
    with pytest.raises(UndecodableImage), counted("here"):
        raise UndecodableImage("cut")
    with pytest.raises(ZeroDivisionError), counted("here"):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), counted("here"):
        raise KeyboardInterrupt
    for outcome in ("ok", "undecodable-image", "internal-error", "cancelled"):
        assert requests_counted("here", outcome) == 1

import asyncio

import pytest

from orchestrator.analyse import AnalysisOptions
from orchestrator.bootstrap.services import build_services
from orchestrator.common.deadline import remaining_s
from orchestrator.edge.admission import Admission, Places
from orchestrator.edge.grpc.messages import fields_of
from orchestrator.edge.orders import order_of
from orchestrator.edge.request_frame import RequestFrame
from orchestrator.errors import DeadlineExceeded, InvalidParameter, Overloaded, UnknownProfile
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer

SERVICES = build_services(Settings(), model_server=FakeModelServer())


async def test_nothing_is_read_of_a_request_that_finds_no_place():
    admission = Admission(max_in_flight=1, max_waiting=0)
    frame, read = RequestFrame(SERVICES, admission), list[str]()

    async def reading() -> str:
        read.append("image")
        return "image"

    async with frame.begun(60, reading) as sent:
        assert (sent, read, admission.in_flight) == ("image", ["image"], 1)
        with pytest.raises(Overloaded):
            async with frame.begun(60, reading):
                raise AssertionError
    assert (read, admission.in_flight) == (["image"], 0)


async def test_who_sends_slowly_holds_no_place():
    admission = Admission()
    held: list[int] = []

    async def reading() -> None:
        held.append(admission.in_flight)
        assert remaining_s() is not None  # the deadline counts from the arrival

    async with RequestFrame(SERVICES, admission).begun(60, reading):
        held.append(admission.in_flight)
    assert held == [0, 1]


async def test_what_takes_longer_than_the_request_has_is_broken_off():
    async def reading() -> None:
        return None

    with pytest.raises(DeadlineExceeded):
        async with RequestFrame(SERVICES, Admission()).begun(0.01, reading):
            await asyncio.Event().wait()


async def test_an_unknown_profile_is_an_error_that_names_those_there_are():
    frame = RequestFrame(SERVICES, Admission())
    for name in ("no-such", ""):
        with pytest.raises(UnknownProfile) as raised:
            await frame.analysed(b"", AnalysisOptions(profile=name))
        assert raised.value.known == tuple(SERVICES.profiles)
        with pytest.raises(InvalidParameter):
            order_of({"specimen_id": "S-1", "profile": name}, SERVICES)


def test_a_wrong_parameter_is_named_within_its_message():
    told = r"^order\.profile: there is no such profile$"
    with pytest.raises(InvalidParameter, match=told) as raised, fields_of("order"):
        raise UnknownProfile(("a", "b"))
    assert raised.value.fields[0].allowed == ("a", "b")


def test_places_are_refused_when_all_are_taken_and_free_again_after_an_error():
    places = Places(1, "orders are being received")
    with pytest.raises(ZeroDivisionError), places.taken():
        raise ZeroDivisionError
    with places.taken(), pytest.raises(Overloaded, match="1 orders are being received"), places.taken():
        raise AssertionError

import pytest

from orchestrator.emulator.examples import AWKWARD_TEXT, examples
from orchestrator.emulator.lis import EmulatedLis, Received
from orchestrator.interop.hl7v2 import message
from orchestrator.interop.hl7v2_ack import Acknowledgement, acknowledge
from orchestrator.interop.hl7v2_check import own_problems
from orchestrator.interop.hl7v2_text import read
from orchestrator.interop.mllp_listener import HangUp
from orchestrator.interop.site import Site

EXAMPLES = examples()
SITE = Site(
    sending_application="WBC|1", sending_facility="LAB", receiving_application="LIS", receiving_facility="H^1"
)
ORU = message(EXAMPLES["awkward_text"].differential, "oru", SITE, detail=False)


async def test_what_came_is_told_as_a_person_reads_it():
    told: list[Received] = []
    await EmulatedLis(tell=told.append)(ORU)
    (received,) = told
    assert received.kind == "ORU^R01"
    assert received.specimen_id == AWKWARD_TEXT
    assert received.problems == ()
    neutrophils = next(r for r in received.results if r.code == "26511-6")
    assert (neutrophils.value, neutrophils.unit, neutrophils.flag, neutrophils.status) == (
        "78",
        "%",
        "H",
        "F",
    )


async def test_the_acknowledgement_goes_back_to_the_sender_by_name():
    answer = await EmulatedLis(check=own_problems)(ORU)
    assert answer is not None
    read_back = read(answer)
    assert [read_back.value("MSH", number) for number in (3, 4, 5, 6)] == ["LIS", "H^1", "WBC|1", "LAB"]
    assert read_back.field("MSH", 9) == "ACK^R01^ACK"
    assert Acknowledgement.of(read_back) == Acknowledgement("AA", read(ORU).value("MSH", 10), "")


async def test_answers_follow_the_script_and_the_last_one_stays():
    lis = EmulatedLis(["reject", "error", "accept"], check=own_problems)
    codes = []
    for _ in range(4):
        answer = await lis(ORU)
        assert answer is not None
        codes.append(Acknowledgement.of(read(answer)).code)
    assert codes == ["AR", "AE", "AA", "AA"]
    assert len(lis.stored) == 1


async def test_a_wrong_message_is_not_filed_and_its_problems_are_in_the_answer():
    lis = EmulatedLis()
    answer = await lis(ORU.replace(b"|HM|F|", b"|HM|P|"))
    assert answer is not None
    acknowledgement = Acknowledgement.of(read(answer))
    assert acknowledgement.code == "AE"
    assert "not that of the report" in acknowledgement.text
    assert not lis.stored


async def test_what_is_no_message_is_told_and_hung_up_on():
    told: list[Received] = []
    with pytest.raises(HangUp):
        await EmulatedLis(tell=told.append)(b"GET / HTTP/1.1")
    assert "MSH" in told[0].problems[0]


async def test_a_text_with_delimiters_survives_an_acknowledgement():
    differential = EXAMPLES["final"].differential
    now = differential.computed_at
    answer = read(acknowledge(read(ORU), "AE", now, "a|b^c\r&d\\"))
    assert Acknowledgement.of(answer).text == "a|b^c\r&d\\; Application internal error"


def test_a_script_without_answers_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        EmulatedLis([])

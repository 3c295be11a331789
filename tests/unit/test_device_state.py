"""How far a microscope is known, and that only known and audited ones release answers."""

from dataclasses import replace
from typing import Literal, get_args

import pytest

from orchestrator.device_state import NoAudits, device_sentences, device_state, with_device_reason
from orchestrator.domain import DeviceState, Finding, ModelIdentity, ReviewReason
from orchestrator.profiles import Profile, ProfiledDevice, load_profiles

MODEL = ModelIdentity("wbc", 5, "a" * 64)
SURE = Finding(4, (0.0, 0.0, 0.0, 0.0, 1.0), 1.0, -9.0, 0.0, "none")
IMAGE, SAMPLED = "4" * 64, "5" * 64
UNSURE = replace(SURE, review_reasons=(ReviewReason("close_call", "Two classes are close."),))


class PassedAudits(NoAudits):
    """An audit of every device with one model passed; it releases one class from one confidence on."""

    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited", "suspended"] | None:
        return "audited" if (profile.name, model) == ("site", MODEL) else None

    def releases(self, profile: Profile, model: ModelIdentity, class_index: int, confidence: float) -> bool:
        return self.state_of(profile, model) is not None and class_index == 4 and confidence >= 0.9

    def sample_of(self, profile: Profile, model: ModelIdentity, image_sha256: str) -> ReviewReason | None:
        is_sampled = self.state_of(profile, model) is not None and image_sha256 == SAMPLED
        return ReviewReason("audit_sample", "This one is looked at all the same.") if is_sampled else None


def profile(device: ProfiledDevice) -> Profile:
    return replace(load_profiles()["default"], name="site", device=device)


def codes(finding: Finding) -> list[str]:
    return [reason.code for reason in finding.review_reasons]


@pytest.mark.parametrize("device", get_args(ProfiledDevice))
def test_without_an_audit_a_device_is_known_as_far_as_its_profile_says(device: ProfiledDevice) -> None:
    assert device_state(profile(device), MODEL) == device
    assert device_state(profile(device), MODEL, NoAudits()) == device


@pytest.mark.parametrize("device", ["profiled", "known"])
def test_an_audit_holds_for_the_model_that_it_was_made_with(device: ProfiledDevice) -> None:
    assert device_state(profile(device), MODEL, PassedAudits()) == "audited"
    other = replace(MODEL, version=6)
    assert device_state(profile(device), other, PassedAudits()) == device


class SuspendedAudits(NoAudits):
    def state_of(self, profile: Profile, model: ModelIdentity) -> Literal["audited", "suspended"] | None:  # noqa: ARG002
        return "suspended"


@pytest.mark.parametrize("device", ["profiled", "known"])
def test_a_device_of_which_an_audit_was_proven_wrong_releases_nothing_and_says_why(
    device: ProfiledDevice,
) -> None:
    state = device_state(profile(device), MODEL, SuspendedAudits())
    assert state == "profiled"
    (reason,) = with_device_reason(
        SURE, state, profile(device), MODEL, IMAGE, SuspendedAudits()
    ).review_reasons
    assert reason.code == "device_unknown"
    assert reason.message.startswith("The audit of this microscope does not hold: ")


def test_no_audit_makes_a_device_of_the_profile_that_is_of_none() -> None:
    assert device_state(profile("unknown"), MODEL, PassedAudits()) == "unknown"


@pytest.mark.parametrize("state", ["unknown", "profiled"])
@pytest.mark.parametrize("audits", [NoAudits(), PassedAudits()])
def test_the_surest_answer_of_an_unverified_device_waits_for_a_person(
    state: DeviceState, audits: NoAudits | PassedAudits
) -> None:
    found = with_device_reason(SURE, state, profile("profiled"), MODEL, IMAGE, audits)
    assert found.needs_review
    assert codes(found) == ["device_unknown"]


@pytest.mark.parametrize(
    ("state", "device", "begins"),
    [
        ("unknown", "unknown", "No profile of this microscope was chosen: "),
        ("profiled", "profiled", "This microscope has a profile but no passed audit: "),
    ],
)
def test_the_reason_says_which_it_is_and_what_to_do(
    state: DeviceState, device: ProfiledDevice, begins: str
) -> None:
    (reason,) = with_device_reason(SURE, state, profile(device), MODEL, IMAGE).review_reasons
    assert reason.message.startswith(begins)
    assert "choose the profile of the microscope if it is one of the known ones" in reason.message
    assert "`wbc audit-device`" in reason.message


def test_other_reasons_stay_and_come_first() -> None:
    found = with_device_reason(UNSURE, "unknown", profile("unknown"), MODEL, IMAGE)
    assert codes(found) == ["close_call", "device_unknown"]


@pytest.mark.parametrize("finding", [SURE, UNSURE])
def test_on_a_known_device_nothing_is_added(finding: Finding) -> None:
    assert with_device_reason(finding, "known", profile("known"), MODEL, IMAGE) == finding


def test_on_an_audited_device_the_audit_says_what_is_released() -> None:
    audited = (profile("profiled"), MODEL, IMAGE, PassedAudits())
    assert with_device_reason(SURE, "audited", *audited) == SURE
    less_sure = replace(SURE, probabilities=(0.2, 0.0, 0.0, 0.0, 0.8))
    assert codes(with_device_reason(less_sure, "audited", *audited)) == ["not_audited_class"]
    another_class = replace(SURE, class_index=0, probabilities=(1.0, 0.0, 0.0, 0.0, 0.0))
    assert codes(with_device_reason(another_class, "audited", *audited)) == ["not_audited_class"]


def test_of_what_an_audit_releases_a_sample_is_looked_at_all_the_same() -> None:
    device = profile("profiled"), MODEL
    sampled = with_device_reason(SURE, "audited", *device, SAMPLED, PassedAudits())
    assert codes(sampled) == ["audit_sample"]
    assert with_device_reason(SURE, "audited", *device, IMAGE, PassedAudits()) == SURE


def test_without_audits_an_audited_device_releases_nothing() -> None:
    assert codes(with_device_reason(SURE, "audited", profile("known"), MODEL, IMAGE)) == ["not_audited_class"]


def test_of_many_findings_each_sentence_about_the_device_is_said_once() -> None:
    unknown = with_device_reason(UNSURE, "unknown", profile("unknown"), MODEL, IMAGE)
    profiled = with_device_reason(SURE, "profiled", profile("profiled"), MODEL, IMAGE)
    said = device_sentences([unknown, SURE, profiled, unknown])
    assert said == (unknown.review_reasons[-1].message, profiled.review_reasons[0].message)

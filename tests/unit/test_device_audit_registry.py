"""What the service asks the judged audits of a folder."""

import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.device_audit import Audit, AuditedModel, AuditFile, AuditSample
from orchestrator.device_audit_registry import AuditRegistry
from orchestrator.device_state import NO_AUDITS
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import Settings
from orchestrator.wiring import audits_of
from tests.audited_cells import (
    MODEL,
    NOW,
    PRECISION,
    PROFILE,
    THRESHOLD,
    audit_of,
    eosinophils,
    image_sha256,
    passed_audit,
    plan_of,
)

EOSINOPHIL = CLASS_NAMES.index("Eosinophil")


def keep(folder, audit, name="audit.json"):
    (folder / name).unlink(missing_ok=True)
    AuditFile(folder / name).create(audit)


@pytest.fixture
def folder(tmp_path):
    keep(tmp_path, passed_audit())
    return tmp_path


class Time:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def test_the_audited_profile_and_model_are_audited_and_release_the_class(folder):
    registry = AuditRegistry(folder, PRECISION)

    assert registry.state_of(PROFILE, MODEL) == "audited"
    assert registry.releases(PROFILE, MODEL, EOSINOPHIL, THRESHOLD)
    assert not registry.releases(PROFILE, MODEL, EOSINOPHIL, THRESHOLD - 1e-9)
    assert not registry.releases(PROFILE, MODEL, EOSINOPHIL - 1, 1.0)


@pytest.mark.parametrize(
    ("profile", "model", "precision"),
    [
        (replace(PROFILE, tta="none"), MODEL, PRECISION),
        (replace(PROFILE, routing=replace(PROFILE.routing, temperature=2.0)), MODEL, PRECISION),
        (PROFILE, replace(MODEL, version=6), PRECISION),
        (PROFILE, replace(MODEL, sha256="b" * 64), PRECISION),
        (PROFILE, replace(MODEL, sha256=None), PRECISION),
        (PROFILE, replace(MODEL, name="other"), PRECISION),
        (PROFILE, replace(MODEL, server="tf-serving"), PRECISION),
        (PROFILE, MODEL, "bf16"),
    ],
)
def test_anything_else_ends_the_audit(folder, profile, model, precision):
    registry = AuditRegistry(folder, precision)

    assert registry.state_of(profile, model) is None
    assert not registry.releases(profile, model, EOSINOPHIL, 1.0)
    assert all(registry.sample_of(profile, model, image_sha256(number)) is None for number in range(200))


def test_the_precision_of_this_process_is_none_of_a_servers(tmp_path):
    model = replace(MODEL, server="tf-serving", sha256=None)
    keep(tmp_path, passed_audit(model=AuditedModel.of(model, PRECISION)))

    assert AuditRegistry(tmp_path, "bf16").state_of(PROFILE, model) == "audited"


def test_the_name_of_a_profile_is_no_matter(folder):
    assert AuditRegistry(folder, PRECISION).state_of(replace(PROFILE, name="renamed"), MODEL) == "audited"


@pytest.mark.parametrize(
    "audit",
    [
        audit_of(plan_of(), eosinophils(99)),  # not judged yet
        audit_of(plan_of(), eosinophils(99, wrong=1)).judged(NOW),  # not passed
    ],
)
def test_an_audit_that_released_nothing_audits_nothing(tmp_path, audit):
    keep(tmp_path, audit)

    assert AuditRegistry(tmp_path, PRECISION).state_of(PROFILE, MODEL) is None


def test_a_tampered_file_is_refused_with_a_warning_and_hides_no_other(folder, caplog):
    document = json.loads((folder / "audit.json").read_text())
    document["plan"]["thresholds"]["Eosinophil"] = 0.1
    (folder / "audit.json").write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        registry = AuditRegistry(folder, PRECISION)

    assert registry.state_of(PROFILE, MODEL) is None
    assert "the plan was changed after it was frozen" in caplog.text
    keep(folder, passed_audit(), "other.json")
    assert AuditRegistry(folder, PRECISION).state_of(PROFILE, MODEL) == "audited"


def test_of_several_audits_the_last_counts(folder):
    later = audit_of(plan_of(), eosinophils(99, wrong=1)).judged(NOW + timedelta(days=1))
    keep(folder, later, "0-later.json")

    assert AuditRegistry(folder, PRECISION).state_of(PROFILE, MODEL) is None


def test_a_change_of_the_folder_is_seen_within_a_second(tmp_path):
    time = Time()
    registry = AuditRegistry(tmp_path, PRECISION, clock=time)
    seen = []

    def look():
        time.now_s += 1.0
        seen.append(registry.state_of(PROFILE, MODEL))

    look()
    keep(tmp_path, passed_audit())
    seen.append(registry.state_of(PROFILE, MODEL))  # not yet a second later
    look()
    keep(tmp_path, suspended(passed_audit()))
    look()
    keep(tmp_path, passed_audit())
    look()
    (tmp_path / "audit.json").unlink()
    look()

    assert seen == [None, None, "audited", None, "audited", None]


def test_a_folder_that_goes_away_releases_nothing(folder, caplog):
    time = Time()
    registry = AuditRegistry(folder, PRECISION, clock=time)
    assert registry.state_of(PROFILE, MODEL) == "audited"
    folder.rename(folder.with_name("elsewhere"))
    time.now_s += 1.0

    assert registry.state_of(PROFILE, MODEL) is None
    assert "audits: none holds" in caplog.text


def test_files_that_are_being_written_are_left_alone(folder, caplog):
    (folder / ".audit.json.xyz").write_text("half")
    (folder / ".hidden.json").write_text("half")
    (folder / "notes.txt").write_text("no audit")
    (folder / "folder.json").mkdir()

    assert AuditRegistry(folder, PRECISION).state_of(PROFILE, MODEL) == "audited"
    assert not caplog.records


def test_a_twentieth_of_the_images_is_sampled_with_its_reason(folder):
    registry = AuditRegistry(folder, PRECISION)

    reasons = [registry.sample_of(PROFILE, MODEL, image_sha256(number)) for number in range(1000)]

    sampled = [reason for reason in reasons if reason is not None]
    assert 20 < len(sampled) < 90
    assert {reason.code for reason in sampled} == {"audit_sample"}


def test_the_settings_name_the_folder(folder):
    assert audits_of(Settings()) is NO_AUDITS
    registry = audits_of(Settings(audits_dir=folder))
    assert registry.state_of(PROFILE, MODEL) == "audited"
    with pytest.raises(ConfigurationError, match="WBC_AUDITS_DIR: expected a folder"):
        audits_of(Settings(audits_dir=folder / "audit.json"))


def suspended(audit: Audit) -> Audit:
    images = (image_sha256(number, "sample") for number in range(1000))
    for _, image in zip(range(3), filter(audit.plan.is_sampled, images), strict=False):
        audit = audit.with_sample(AuditSample(image_sha256=image, class_name="Eosinophil", correct=False))
    assert audit.is_suspended()
    return audit

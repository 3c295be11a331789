"""What the service asks the judged audits of a folder."""

import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.bootstrap.services import audits_of
from orchestrator.common.whole_file import locked
from orchestrator.device_audits.audit import Audit, AuditedModel, AuditFile, AuditSample
from orchestrator.device_audits.registry import AuditRegistry
from orchestrator.device_state import NO_AUDITS
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import Settings
from orchestrator.specimen import CellDecision, SpecimenCell
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
from tests.counted_cells import result

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


def test_an_audit_that_is_not_judged_says_nothing(tmp_path):
    keep(tmp_path, audit_of(plan_of(), eosinophils(99)))

    assert AuditRegistry(tmp_path, PRECISION).state_of(PROFILE, MODEL) is None


def test_an_audit_that_released_nothing_suspends_the_device(tmp_path):
    keep(tmp_path, audit_of(plan_of(), eosinophils(99, wrong=1)).judged(NOW))
    registry = AuditRegistry(tmp_path, PRECISION)

    assert registry.state_of(PROFILE, MODEL) == "suspended"
    assert not registry.releases(PROFILE, MODEL, EOSINOPHIL, 1.0)


def test_a_suspended_audit_stays_suspended_where_its_file_cannot_be_read_any_more(tmp_path):
    time = Time()
    keep(tmp_path, suspended(passed_audit()))
    registry = AuditRegistry(tmp_path, PRECISION, clock=time)

    (tmp_path / "audit.json").write_text("{")
    time.now_s += 2.0

    assert registry.state_of(PROFILE, MODEL) == "suspended"


def test_a_sample_that_the_audit_could_not_have_counted_makes_the_file_void(folder):
    (image,) = sampled_images(1)
    other = next(name for name in map(image_sha256, range(100)) if not plan_of().is_sampled(name))
    good = {"image_sha256": image, "class_name": "Eosinophil", "correct": False}
    for samples in ([good, good], [good | {"class_name": "Monocyte"}], [good | {"image_sha256": other}]):
        document = json.loads((folder / "audit.json").read_text())
        (folder / "audit.json").write_text(json.dumps(document | {"samples": samples}))

        with pytest.raises(ConfigurationError, match="samples"):
            AuditFile(folder / "audit.json").read()


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

    assert AuditRegistry(folder, PRECISION).state_of(PROFILE, MODEL) == "suspended"


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

    assert seen == [None, None, "audited", "suspended", "audited", None]


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


def sampled_images(count, seed=7):
    images = (image_sha256(number, "sample") for number in range(1000))
    return [
        image for _, image in zip(range(count), filter(plan_of(seed=seed).is_sampled, images), strict=False)
    ]


def reviewed(image, label, *, minutes=0, codes=("audit_sample",), **changes):
    """A cell that the audit released and sampled, and what a person says of it; None: nothing."""
    found = replace(
        result("Eosinophil", review=codes, model=MODEL, device_state="audited"),
        profile_sha256=PROFILE.sha256,
        analysed_at=NOW,
    )
    decision = None if label is None else CellDecision(label, "ayse", NOW + timedelta(minutes=minutes))
    return SpecimenCell(f"of {image[:8]}", 1, image, "analysed", replace(found, **changes), None, decision)


def test_what_a_person_decides_of_a_sampled_cell_is_kept_in_the_file_of_its_audit(folder):
    registry = AuditRegistry(folder, PRECISION)
    right, wrong, unclear = sampled_images(3)
    cells = [reviewed(right, "Eosinophil"), reviewed(wrong, "Monocyte"), reviewed(unclear, "Unidentified")]

    counted = registry.count_samples(cells)

    assert [(one.cell_id, one.correct) for one in counted] == [
        (cells[0].cell_id, True), (cells[1].cell_id, False), (cells[2].cell_id, False),
    ]  # fmt: skip
    audit = AuditFile(folder / "audit.json").read()
    assert {one.plan_sha256 for one in counted} == {audit.plan_sha256}
    assert [(one.image_sha256, one.correct) for one in audit.samples] == [
        (right, True), (wrong, False), (unclear, False),
    ]  # fmt: skip
    assert registry.count_samples(cells) == ()  # each once


def test_an_audit_that_its_samples_contradict_ends_at_once_and_for_every_process(folder, caplog):
    registry = AuditRegistry(folder, PRECISION)
    first, second, third = sampled_images(3)
    registry.count_samples([reviewed(first, "Eosinophil"), reviewed(second, "Monocyte")])
    assert registry.state_of(PROFILE, MODEL) == "audited"

    (counted,) = registry.count_samples([reviewed(third, "Monocyte")])

    assert counted.is_suspended
    assert "audit.json is suspended" in caplog.text
    for one in (registry, AuditRegistry(folder, PRECISION)):
        assert one.state_of(PROFILE, MODEL) == "suspended"
        assert not one.releases(PROFILE, MODEL, EOSINOPHIL, 1.0)
    (corrected,) = registry.count_samples([reviewed(third, "Eosinophil")])
    assert not corrected.is_suspended
    assert registry.state_of(PROFILE, MODEL) == "audited"


def test_of_one_image_the_last_decision_counts_and_one_taken_back_does_not(folder):
    registry = AuditRegistry(folder, PRECISION)
    (image,) = sampled_images(1)
    twice = [reviewed(image, "Eosinophil", minutes=2), reviewed(image, "Monocyte", minutes=1)]

    assert [one.correct for one in registry.count_samples(twice)] == [True]
    assert [one.correct for one in registry.count_samples([reviewed(image, None)])] == [None]
    assert AuditFile(folder / "audit.json").read().samples == ()
    assert registry.count_samples([reviewed(image, None)]) == ()


def test_of_one_image_in_two_specimens_the_later_decision_stays_whichever_is_told_last(folder):
    registry = AuditRegistry(folder, PRECISION)
    (image,) = sampled_images(1)
    first, second = reviewed(image, "Monocyte"), reviewed(image, "Eosinophil", minutes=1)
    second = replace(second, cell_id="of another specimen")
    registry.count_samples([first])
    registry.count_samples([second])

    assert registry.count_samples([first]) == ()
    assert registry.count_samples([replace(first, decision=None)]) == ()
    (sample,) = AuditFile(folder / "audit.json").read().samples
    assert sample.correct


def test_a_decision_taken_back_is_forgotten_where_the_image_is_in_the_specimen_twice(folder):
    registry = AuditRegistry(folder, PRECISION)
    (image,) = sampled_images(1)
    first, second = reviewed(image, "Monocyte"), reviewed(image, None)
    second = replace(second, cell_id="the same once more")
    registry.count_samples([first, second])

    (forgotten,) = registry.count_samples([replace(first, decision=None), second])

    assert forgotten.correct is None
    assert AuditFile(folder / "audit.json").read().samples == ()


def test_a_decision_does_not_wait_for_good_for_an_audit_that_another_process_holds(folder):
    registry = AuditRegistry(folder, PRECISION, lock_wait_s=0.1)
    (image,) = sampled_images(1)

    with locked(folder / "audit.json"), pytest.raises(ConfigurationError, match="another command"):
        registry.count_samples([reviewed(image, "Eosinophil")])
    assert len(registry.count_samples([reviewed(image, "Eosinophil")])) == 1


def test_what_was_not_released_by_this_audit_says_nothing_of_it(folder):
    registry = AuditRegistry(folder, PRECISION)
    (image,) = sampled_images(1)
    other = next(name for name in map(image_sha256, range(100)) if not plan_of().is_sampled(name))
    cells = [
        reviewed(image, "Monocyte", codes=("close_call", "audit_sample")),
        reviewed(image, "Monocyte", codes=()),
        reviewed(other, "Monocyte"),
        reviewed(image, "Monocyte", profile_sha256=None),
        reviewed(image, "Monocyte", profile_sha256="c" * 64),
        reviewed(image, "Monocyte", model=replace(MODEL, version=6)),
        reviewed(image, "Monocyte", analysed_at=NOW - timedelta(days=1)),
        replace(reviewed(image, "Monocyte"), result=None),
    ]

    assert [registry.count_samples([cell]) for cell in cells] == [()] * len(cells)
    assert AuditFile(folder / "audit.json").read().samples == ()


def test_a_sample_counts_for_the_audit_that_released_it_and_not_for_a_later_one(folder):
    later = audit_of(plan_of(), eosinophils(99)).judged(NOW + timedelta(days=1))
    keep(folder, later, "later.json")
    (image,) = sampled_images(1)

    AuditRegistry(folder, PRECISION).count_samples([reviewed(image, "Eosinophil")])

    assert len(AuditFile(folder / "audit.json").read().samples) == 1
    assert AuditFile(folder / "later.json").read().samples == ()


def released(class_name="Eosinophil", **changes):
    return reviewed(image_sha256(1), None, codes=(), class_name=class_name, **changes)


def test_of_released_cells_the_limit_of_the_error_is_known(folder):
    registry = AuditRegistry(folder, PRECISION)
    looked_at = reviewed(image_sha256(2), "Monocyte", codes=(), device_state="known")

    errors = registry.released_errors([released(), looked_at, reviewed(image_sha256(3), None)])

    assert errors.limits == {"Eosinophil": pytest.approx(1 - 0.0125 ** (1 / 99))}  # none of 99 wrong
    assert not errors.ended
    registry.count_samples([reviewed(image, "Monocyte") for image in sampled_images(3)])
    assert registry.released_errors([released()]).ended


def test_where_a_cell_was_not_released_by_an_audit_nothing_is_known_of_the_error(folder):
    registry = AuditRegistry(folder, PRECISION)
    for other in (
        released(device_state="known"),
        released(class_name="Monocyte"),
        released(profile_sha256=None),
        released(model=replace(MODEL, version=6)),
        released(analysed_at=NOW - timedelta(days=1)),
    ):
        assert registry.released_errors([released(), other]) is None
    assert registry.released_errors([reviewed(image_sha256(3), "Monocyte")]) is None


def suspended(audit: Audit) -> Audit:
    images = (image_sha256(number, "sample") for number in range(1000))
    for _, image in zip(range(3), filter(audit.plan.is_sampled, images), strict=False):
        audit = audit.with_sample(AuditSample(image_sha256=image, class_name="Eosinophil", correct=False))
    assert audit.is_suspended()
    return audit

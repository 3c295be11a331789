"""What ``wbc audit-device add`` does with images, and what the commands refuse; without a network."""

import asyncio
import hashlib
import time
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.bootstrap.services import build_services
from orchestrator.commands.audit_device import Adding
from orchestrator.commands.cli import app
from orchestrator.commands.image_files import ImageFile
from orchestrator.device_audits.audit import Audit, AuditedModel, AuditFile
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.settings import Settings
from orchestrator.site_head.head_file import made
from orchestrator.site_head.registry import Canary, HeadRegistry
from tests.audited_cells import (
    MODEL,
    NOW,
    PRECISION,
    PROFILE,
    audit_of,
    eosinophils,
    image_sha256,
    passed_audit,
    plan_of,
)
from tests.fakes.model_server import FEATURES, IDENTITY, FakeModelServer


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return sorted(folder.iterdir())


@pytest.fixture
def file(tmp_path):
    file = AuditFile(tmp_path / "audit.json")
    file.create(Audit.of(plan_of()))
    return file


@contextmanager
def no_bar():
    yield lambda: None


def added(file, paths, *, specimen="S-1", model=MODEL, precision=PRECISION, bar=no_bar, heads=None):
    services = build_services(Settings(heads_dir=heads), model_server=FakeModelServer(model))
    with file.held():
        adding = Adding(file, specimen, services, precision)
        asyncio.run(adding.run([ImageFile(path) for path in paths], bar()))
    return adding


def test_images_become_cells_with_sealed_answers(file, images):
    adding = added(file, images)

    audit = file.read()
    assert (adding.added, adding.refused) == (10, [])
    assert [cell.image for cell in audit.cells] == [str(path) for path in images]
    assert {cell.specimen for cell in audit.cells} == {"S-1"}
    assert audit.labels == {}
    assert all(sum(one.probabilities) == pytest.approx(1) for one in audit.sealed.values())
    assert len({one.probabilities for one in audit.sealed.values()}) > 1


def test_an_image_that_may_not_be_used_is_told_and_the_others_are_added(file, images, tmp_path):
    (tmp_path / "copy.png").write_bytes(images[0].read_bytes())
    (tmp_path / "no.png").write_bytes(b"no image")

    adding = added(file, [*images[:2], tmp_path / "copy.png", tmp_path / "no.png", tmp_path / "gone.png"])

    assert adding.added == 2
    assert [path.name for path, _ in adding.refused] == ["copy.png", "no.png", "gone.png"]
    assert "already" in adding.refused[0][1]
    again = added(file, images[:3])
    assert (again.added, len(again.refused)) == (1, 2)
    assert len(file.read().cells) == 3


def test_images_that_come_when_all_is_there_are_not_needed(tmp_path, images):
    file = AuditFile(tmp_path / "full.json")
    file.create(audit_of(plan_of(), eosinophils(99)))

    adding = added(file, images)

    assert (adding.added, adding.unneeded, adding.refused) == (0, 10, [])
    assert len(file.read().cells) == 99


def test_what_is_answered_is_kept_when_a_person_interrupts(file, images):
    @contextmanager
    def interrupted():
        left = iter(range(5))

        def advance():
            if next(left) == 4:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        added(file, images, bar=interrupted)

    assert len(file.read().cells) == 5
    assert added(file, images).added == 5


@pytest.mark.parametrize("change", [{"model": IDENTITY}, {"precision": "bf16"}])
def test_another_model_or_precision_answers_nothing(file, images, change):
    with pytest.raises(ConfigurationError, match="not the one of the plan"):
        added(file, images, **change)

    assert file.read().cells == ()


def test_another_profile_than_that_of_the_plan_answers_nothing(tmp_path, images):
    file = AuditFile(tmp_path / "other.json")
    file.create(Audit.of(plan_of(profile_sha256="0" * 64)))

    with pytest.raises(ConfigurationError, match="begin a new audit"):
        added(file, images)


@pytest.fixture
def tried(tmp_path):
    """A head that answers for half, and otherwise than the model's own, which is on; and its registry."""
    delta = np.zeros((FEATURES + 1, NUM_CLASSES), np.float32)
    delta[-1, 0] = 100.0
    head = made(
        name=f"{PROFILE.name}.1",
        model=MODEL,
        recipe_sha256=PROFILE.recipe_sha256,
        delta=delta,
        temperature=1.0,
        review_threshold=0.5,
        max_energy=0.0,
        features=None,
        made_at=NOW,
        made_by="anna",
        decision="recommended",
        summary={},
    )
    (tmp_path / "heads").mkdir()
    registry = HeadRegistry(tmp_path / "heads")
    kept = registry.add(head, "anna")
    registry.begin_canary(kept.name, "anna", 0.5)
    return registry, kept


def test_a_canary_gives_no_answer_of_an_audit(file, images, tried, tmp_path):
    _, head = tried
    taken = [Canary(head, 0.5).takes(hashlib.sha256(image.read_bytes()).hexdigest()) for image in images]
    assert set(taken) == {False, True}

    added(file, images, heads=tmp_path / "heads")

    beside = file.read().sealed
    other = AuditFile(tmp_path / "other.json")
    other.create(Audit.of(plan_of()))
    added(other, images)
    assert beside == other.read().sealed


def test_a_head_that_is_switched_on_while_an_audit_is_answered_ends_its_answers(
    file, images, tried, tmp_path
):
    registry, head = tried

    @contextmanager
    def then_switched_on():
        def advance():
            if registry.active(PROFILE.name) is None:
                registry.switch_on(head.name, "anna")
                time.sleep(1.1)  # the service looks at the trail once a second

        yield advance

    adding = added(file, images, heads=tmp_path / "heads", bar=then_switched_on)

    assert adding.added + len(adding.refused) == len(images)
    assert {why for _, why in adding.refused} == {
        "the profile 'raabin' is not what it was when planned; begin a new audit"
    }


def test_a_judged_audit_answers_nothing(tmp_path, images):
    file = AuditFile(tmp_path / "judged.json")
    file.create(passed_audit())

    with pytest.raises(ConfigurationError, match="judged once"):
        added(file, images)


def wbc(*arguments):
    return CliRunner().invoke(app, ["audit-device", *map(str, arguments)], env={"COLUMNS": "80"})


def test_the_verdict_is_told_once_and_kept(tmp_path):
    path = tmp_path / "audit.json"
    AuditFile(path).create(audit_of(plan_of("Eosinophil"), eosinophils(99)))

    first, second, shown = (
        wbc("judge", "--audit", path),
        wbc("judge", "--audit", path),
        wbc("show", "--audit", path),
    )

    assert first.exit_code == 0, first.output
    for said in (first.stdout, shown.stdout):
        for expected in ("99", "97.02 %", "released", "S-0 (33), S-1 (33), S-2 (33)", DISCLAIMER):
            assert expected in said, said
    assert isinstance(second.exception, ConfigurationError)
    assert "begin a new one" in str(second.exception)
    assert AuditFile(path).read().verdict is not None


def test_nothing_is_judged_before_all_is_there_and_it_is_said_what_is_missing(tmp_path):
    path = tmp_path / "audit.json"
    AuditFile(path).create(audit_of(plan_of(), [*eosinophils(98), ("Eosinophil", None, 0.95)], specimens=2))

    result, shown = wbc("judge", "--audit", path), wbc("show", "--audit", path)

    for said in ("98 of 99 cells", "2 of at least 3 specimens", "1 cells wait for a label"):
        assert said in str(result.exception)
    assert AuditFile(path).read().verdict is None
    assert "Eosinophil: 98 of 99 labelled cells, of 2 specimens" in shown.stdout
    assert "errors" not in shown.stdout.split("cells needed")[1]


def test_labels_come_from_the_table_all_or_none(tmp_path):
    path, table = tmp_path / "audit.json", tmp_path / "labels.csv"
    AuditFile(path).create(audit_of(plan_of(), [("Eosinophil", None, 0.95)] * 3))
    exported = wbc("export-labels", "--audit", path, "--output", table)
    assert exported.exit_code == 0
    assert DISCLAIMER in exported.stdout
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, rows[0].replace(",,", ",other,"), rows[1].replace(",,", ",blast,")]))

    refused = wbc("import-labels", "--audit", path, table)

    assert "row 3" in str(refused.exception)
    assert AuditFile(path).read().labels == {}
    table.write_text("\n".join([header, rows[0].replace(",,", ",other,"), rows[1]]))
    taken = wbc("import-labels", "--audit", path, table)
    assert taken.exit_code == 0, taken.output
    assert "1 labels taken over\nEosinophil: 1 of 99 labelled cells" in taken.stdout
    assert list(AuditFile(path).read().labels.values()) == ["other"]


@pytest.mark.usefixtures("file")
def test_a_table_that_may_hold_labels_is_not_written_over(tmp_path):
    (tmp_path / "labels.csv").write_text("mine")

    result = wbc("export-labels", "--audit", tmp_path / "audit.json", "--output", tmp_path / "labels.csv")

    assert "is there already" in str(result.exception)
    assert (tmp_path / "labels.csv").read_text() == "mine"


def test_samples_that_prove_it_worse_suspend_the_audit(tmp_path):
    path = tmp_path / "audit.json"
    audit = passed_audit()
    AuditFile(path).create(audit)
    images = [image for image in map(image_sha256, range(1000, 1500)) if audit.plan.is_sampled(image)]

    said = [
        wbc("sample", "--audit", path, "--image-sha", image, "--class", "Eosinophil", answer)
        for image, answer in zip(images, ("--correct", "--wrong", "--wrong"), strict=False)
    ]

    assert [result.exit_code for result in said] == [0, 0, 0]
    assert "the audit holds" in said[1].stdout
    assert "suspended" in said[2].stdout
    assert AuditFile(path).read().is_suspended()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image-sha", "abc", "--class", "Eosinophil"], "--image-sha"),
        (["--image-sha", "a" * 64, "--class", "Blast"], "--class"),
        (["--image-sha", image_sha256(0), "--class", "Monocyte"], "no answers of Monocyte"),
    ],
)
def test_a_sample_that_is_none_is_told(tmp_path, arguments, said):
    AuditFile(tmp_path / "audit.json").create(passed_audit())

    result = wbc("sample", "--audit", tmp_path / "audit.json", *arguments, "--correct")

    assert isinstance(result.exception, ConfigurationError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "no-such"], "no profile"),
        (["--profile", "default"], "'default' is no device's"),
        (["--threshold", "Eosinophil"], "CLASS=CONFIDENCE"),
        (["--threshold", "Eosinophil=0.9", "--threshold", "Eosinophil=0.8"], "two values"),
        (["--fitting-images", "gone.png"], "cannot read gone.png"),
    ],
)
def test_a_plan_that_cannot_be_is_told(tmp_path, arguments, said):
    given = arguments if "--profile" in arguments else ["--profile", "raabin", *arguments]

    result = wbc("plan", *given, "--output", tmp_path / "audit.json")

    assert isinstance(result.exception, ConfigurationError)
    assert said in str(result.exception)
    assert not (tmp_path / "audit.json").exists()


def test_names_from_a_file_do_nothing_to_the_terminal(tmp_path):
    path = tmp_path / "audit.json"
    audit = audit_of(plan_of(), eosinophils(99))
    odd = [cell.model_copy(update={"specimen": f"[red]\x1b[2J{cell.specimen}"}) for cell in audit.cells]
    AuditFile(path).create(audit.model_copy(update={"cells": tuple(odd)}))

    result = wbc("judge", "--audit", path)

    assert r"[red]\x1b[2JS-0" in result.stdout
    assert "\x1b" not in result.stdout


def test_the_help_of_the_audit_teaches_with_examples():
    said = wbc("--help").stdout
    for command in ("plan", "add", "export-labels", "import-labels", "judge"):
        assert f"wbc audit-device {command} --" in said
    assert "research use only" in said


def test_a_plan_of_another_seed_is_another_plan():
    model = AuditedModel.of(MODEL, PRECISION)
    assert plan_of(model=model).sha256 == plan_of(model=model).sha256
    assert plan_of(seed=8).sha256 != plan_of().sha256
    assert plan_of(planned_at=NOW.replace(year=2027)).sha256 != plan_of().sha256

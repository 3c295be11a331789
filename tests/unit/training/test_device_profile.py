"""A profile proposed from images of a device, its file, and the command."""

import dataclasses

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.cell_features import Projection
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, NEUTROPHIL
from orchestrator.profiles import load_profiles
from orchestrator.vision.crop import locate_cell
from orchestrator.vision.quality import GENERAL_LIMITS, assess_located
from tests.predictions import predicted
from training.cli import app
from training.device_profile import (
    Choices,
    DeviceImage,
    comparison_table,
    propose,
    read_device_images,
)
from training.profile_file import check_target, render_profile, write_profile

BASE = dataclasses.replace(load_profiles()["default"], tta="none")
TRAINING_PRIOR = (0.1, 0.2, 0.2, 0.2, 0.3)
DIRECTIONS = Projection(7, "ab" * 32, np.eye(2, 4, dtype=np.float32))


@pytest.fixture(scope="module")
def device(tmp_path_factory, synthetic_cell):
    """32 images, 24 of them neutrophils, in a sub-folder per class."""
    folder = tmp_path_factory.mktemp("device")
    for name, count in (("Neutrophil", 24), ("Lymphocyte", 6), ("Monocyte", 2)):
        (folder / name).mkdir()
        for seed in range(count):
            rgb = synthetic_cell(name, seed=seed, size=160)
            cv2.imwrite(str(folder / name / f"{seed:02}.png"), rgb[:, :, ::-1])
    return folder


@pytest.fixture(scope="module")
def labelled(device):
    return read_device_images(device)


@pytest.fixture(scope="module")
def unlabelled(labelled):
    return [DeviceImage(image.path) for image in labelled]


class Oracle:
    """Answers, in the order that it is asked, the class of each image: right, and too sure or too unsure.

    Two lymphocytes are called neutrophils. Energies rise from image to image.
    """

    def __init__(self, images, confidence):
        self.truth = [CLASS_NAMES.index(image.path.parent.name) for image in images]
        self.confidence = confidence
        self.asked = 0
        self.random = np.random.default_rng(1)

    def __call__(self, views):
        assert len(views) in (1, 8)
        index = self.asked % len(self.truth)
        self.asked += 1
        answer = self.truth[index] if index not in (3, 5) else NEUTROPHIL
        main = np.full((1, 5), (1 - self.confidence) / 4, np.float32)
        main[0, answer] = self.confidence
        logits = np.log(main) + 10 - 0.1 * index
        # Of the first view by the class that is answered; of the others, which must not count, elsewhere.
        features = np.full((len(views), 2), 50, np.float32)
        features[0] = self.random.normal((10 * answer, 0))
        main, logits = np.repeat(main, len(views), axis=0), np.repeat(logits, len(views), axis=0)
        return predicted(main, np.full(len(views), 0.5, np.float32), logits, features=features)


def change(proposal, setting):
    return next(c for c in (*proposal.changes, *proposal.effects) if c.setting == setting)


class TestReading:
    def test_sub_folders_of_classes_are_labels(self, labelled):
        assert len(labelled) == 32
        assert {image.path.parent.name for image in labelled if image.class_index == 4} == {"Neutrophil"}

    def test_any_other_folder_is_unlabelled(self, device):
        images = read_device_images(device / "Neutrophil")
        assert len(images) == 24
        assert {image.class_index for image in images} == {None}

    def test_a_limit_takes_images_from_everywhere(self, device):
        images = read_device_images(device, limit=20)
        assert len(images) == len({image.path for image in images}) == 20
        assert len({image.class_index for image in images}) == 3

    def test_a_folder_without_images_is_told(self, tmp_path):
        with pytest.raises(ConfigurationError, match="expected images in"):
            read_device_images(tmp_path)
        with pytest.raises(ConfigurationError, match="which is none"):
            read_device_images(tmp_path / "absent")


class TestProposing:
    def test_labels_give_a_temperature_and_an_account_of_it(self, labelled):
        unsure = propose("site", labelled, BASE, Oracle(labelled, 0.5))
        sure = propose("site", labelled, BASE, Oracle(labelled, 0.999))

        assert unsure.profile.routing.temperature < 0.8
        assert sure.profile.routing.temperature > 1.5
        assert "fitted on 32 labelled images" in change(sure, "temperature").reason
        assert change(sure, "accuracy").proposed == "0.938"

    def test_without_labels_the_temperature_is_1_and_it_says_why(self, unlabelled):
        proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.5))

        assert proposal.profile.routing.temperature == 1.0
        assert "no labels" in change(proposal, "temperature").reason
        assert [c.setting for c in proposal.effects] == ["answers that change", "sent to review"]

    def test_a_handful_of_labels_is_too_few(self, labelled):
        proposal = propose("site", labelled[:10], BASE, Oracle(labelled[:10], 0.5))

        assert proposal.profile.routing.temperature == 1.0
        assert "too few" in change(proposal, "temperature").reason
        assert proposal.profile.routing.max_energy is None
        assert "too few" in change(proposal, "max_energy").reason

    def test_the_limit_of_the_energy_sends_the_share_to_review(self, unlabelled):
        choices = Choices(review_share=0.1)
        proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9), choices)

        assert proposal.profile.routing.max_energy == pytest.approx(-10 + 0.1 * 31 * 0.9, abs=0.01)
        assert change(proposal, "sent to review").base == "0%"
        assert change(proposal, "sent to review").proposed == "12%"

    def test_what_quality_is_usual_is_measured_and_its_own_images_pass(self, unlabelled):
        proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9))

        limits = proposal.profile.quality
        assert limits.min_nucleus_density > 0.5
        assert limits.min_sharpness != GENERAL_LIMITS.min_sharpness
        marked = 0
        for image in unlabelled:
            rgb = image.load()
            cell = locate_cell(rgb)
            codes = {reason.code for reason in assess_located(rgb, cell, limits)}
            marked += bool(codes - {"too_small"})
            dim = assess_located((rgb * 0.5).astype(np.uint8), cell, limits)
            assert "underexposed" in {reason.code for reason in dim}
        assert marked <= 4  # the lowest by each limit
        assert "32 cells" in change(proposal, "quality").reason

    def test_a_handful_of_cells_leaves_the_limits_of_the_base(self, unlabelled):
        proposal = propose("site", unlabelled[:10], BASE, Oracle(unlabelled[:10], 0.9))

        assert proposal.profile.quality == BASE.quality
        assert "too few" in change(proposal, "quality").reason

    def test_shares_of_the_classes_are_measured_and_off_unless_asked_for(self, unlabelled):
        oracle = Oracle(unlabelled, 0.9)
        off = propose("site", unlabelled, BASE, oracle, Choices(training_prior=TRAINING_PRIOR))
        on = propose("site", unlabelled, BASE, oracle, Choices(use_prior=True, training_prior=TRAINING_PRIOR))

        assert off.profile.routing.mode == "none"
        assert off.profile.routing.prior is None
        assert off.unused_prior is not None
        assert on.profile.routing.mode == "prior"
        assert on.profile.routing.prior == off.unused_prior
        assert on.profile.routing.training_prior == TRAINING_PRIOR
        assert on.unused_prior is None
        # 26 of 32 answers; no class is ruled out.
        assert on.profile.routing.prior[NEUTROPHIL] == pytest.approx(0.75, abs=0.07)
        assert min(on.profile.routing.prior) > 0.01

    def test_colours_are_measured_and_stay_as_the_base_has_them_unless_asked_for(self, unlabelled):
        base = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9))
        device = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9), Choices(reinhard="device"))
        off = propose("site", unlabelled, device.profile, Oracle(unlabelled, 0.9), Choices(reinhard="off"))

        assert base.profile.recipe == BASE.recipe
        assert device.profile.recipe.reinhard == base.unused_reinhard is not None
        assert device.unused_reinhard is None
        assert off.profile.recipe.reinhard is None

    def test_colours_of_training_need_training_images(self, unlabelled, synthetic_cell):
        choices = Choices(reinhard="training")
        with pytest.raises(ConfigurationError, match="training images"):
            propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9), choices)

        dark = synthetic_cell("Neutrophil", seed=1, size=160) // 2
        proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9), choices, training_images=[dark])
        assert proposal.profile.recipe.reinhard.mean[0] < 0.7 * proposal.unused_reinhard.mean[0]

    def test_the_crop_shrinks_where_the_cell_fills_the_frame(self, tmp_path, synthetic_cell):
        for seed in range(3):
            rgb = synthetic_cell("Lymphocyte", seed=seed, size=400)[145:255, 145:255]
            cv2.imwrite(str(tmp_path / f"{seed}.png"), rgb[:, :, ::-1])
        images = read_device_images(tmp_path)
        proposal = propose("site", images, BASE, Oracle([DeviceImage(tmp_path / "Lymphocyte" / "x")], 0.9))

        assert 1.0 <= proposal.profile.recipe.crop_scale < 1.4
        assert "a cell found in 3 of 3 images" in change(proposal, "crop_scale").reason

    def test_fifty_cells_say_where_the_device_lies_by_the_class_that_each_is_taken_for(self, unlabelled):
        images = unlabelled * 2
        for base in (BASE, dataclasses.replace(BASE, tta="adaptive")):
            proposal = propose("site", images, base, Oracle(images, 0.9), directions=DIRECTIONS)

            features = proposal.profile.features
            assert features.model_version == 7
            place = np.array(features.means[NEUTROPHIL])
            assert features.include(place, NEUTROPHIL)
            assert place[0] == pytest.approx(10 * NEUTROPHIL, abs=3)
            assert not features.include(place + 5, NEUTROPHIL)
            assert not features.include(place, CLASS_NAMES.index("Lymphocyte"))
            shown = change(proposal, "features")
            assert shown.base == "none"
            assert "model 7" in shown.proposed
            assert "Lymphocyte 10, Monocyte 4, Neutrophil 50" in shown.reason
            assert "wrong ones too" in shown.reason

    def test_of_fewer_cells_or_another_model_it_says_nothing_of_features(self, unlabelled):
        few = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9), directions=DIRECTIONS)
        images = unlabelled * 2
        unknown = propose("site", images, BASE, Oracle(images, 0.9), directions=None)

        assert few.profile.features is unknown.profile.features is None
        assert "32 cells are too few (at least 50)" in change(few, "features").reason
        assert "of this model" in change(unknown, "features").reason

    def test_features_of_the_base_are_of_another_device_and_not_taken_over(self, unlabelled):
        base = dataclasses.replace(load_profiles()["raabin"], tta="none")
        proposal = propose("site", unlabelled, base, Oracle(unlabelled, 0.9), directions=DIRECTIONS)

        assert proposal.profile.features is None
        assert "model 9" in change(proposal, "features").base

    def test_where_no_cell_is_found_the_whole_frame_is_taken(self, tmp_path):
        for number in range(2):
            cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((120, 120, 3), 220, np.uint8))
        images = read_device_images(tmp_path)
        proposal = propose("site", images, BASE, Oracle([DeviceImage(tmp_path / "Lymphocyte" / "x")], 0.9))

        assert proposal.profile.recipe.crop_scale is None
        assert "found in 0 of 2" in change(proposal, "crop_scale").reason


@pytest.fixture(scope="module", params=["plain", "all on"])
def proposal(request, unlabelled):
    all_on = request.param == "all on"
    images = unlabelled * 2 if all_on else unlabelled
    return propose(
        "my-scope",
        images,
        BASE,
        Oracle(images, 0.9),
        Choices("device", True, TRAINING_PRIOR) if all_on else Choices(),
        directions=DIRECTIONS if all_on else None,
        description='Zeiss "Axio", a\\b, Grünwald.',
    )


class TestTheFile:
    def test_is_read_by_the_service_as_proposed(self, proposal, tmp_path):
        path = write_profile(tmp_path / "my-scope.toml", proposal)

        assert load_profiles(tmp_path)["my-scope"] == proposal.profile
        assert "For research use only" in path.read_text(encoding="utf-8")

    def test_what_is_off_stands_in_it_as_a_comment_that_works(self, unlabelled, tmp_path):
        proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9))
        lines = render_profile(proposal).splitlines()
        assert [line for line in lines if line.startswith("# [preprocessing.reinhard]")]

        starts = ("# [preprocessing.reinhard]", "# mean = ", "# std = ", "# prior = ", "# training_prior = ")
        text = "\n".join(line[2:] if line.startswith(starts) else line for line in lines)
        (tmp_path / "site.toml").write_text(text.replace('mode = "none"', 'mode = "prior"'))
        profile = load_profiles(tmp_path)["site"]

        assert profile.recipe.reinhard == proposal.unused_reinhard
        assert profile.routing.prior == proposal.unused_prior

    def test_is_not_overwritten_unless_forced(self, proposal, tmp_path):
        path = tmp_path / "my-scope.toml"
        path.write_text("mine")
        with pytest.raises(ConfigurationError, match="is there already"):
            write_profile(path, proposal)
        assert path.read_text() == "mine"

        write_profile(path, proposal, force=True)
        assert load_profiles(tmp_path)["my-scope"] == proposal.profile

    def test_a_name_that_no_profile_can_have_is_refused_and_nothing_written(self, proposal, tmp_path):
        with pytest.raises(ConfigurationError, match="lower-case"):
            write_profile(tmp_path / "My Scope.toml", proposal)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ConfigurationError, match=r"named <profile>\.toml"):
            check_target(tmp_path / "scope.json")
        with pytest.raises(ConfigurationError, match="folder"):
            check_target(tmp_path / "absent" / "scope.toml")


def test_the_table_shows_base_and_proposal_side_by_side(unlabelled):
    proposal = propose("site", unlabelled, BASE, Oracle(unlabelled, 0.9))

    table = comparison_table(proposal)

    settings = list(table.columns[0].cells)
    assert settings[:2] == ["crop_scale", "Reinhard"]
    assert {"temperature", "max_energy", "prior", "sent to review"} <= set(settings)
    assert next(iter(table.columns[1].cells)) == "1.4"
    assert "For research use only" in table.caption


class TestTheCommand:
    @pytest.fixture
    def arguments(self, device, small_exported_model, tmp_path):
        return [
            "profile", str(device / "Monocyte"), "--output", str(tmp_path / "site.toml"),
            "--model-path", str(small_exported_model.version_dir),
        ]  # fmt: skip

    def test_shows_the_changes_and_writes_only_when_told_to(self, arguments, tmp_path):
        refused = CliRunner().invoke(app, arguments, input="n\n")
        assert refused.exit_code == 1
        assert "temperature" in refused.output
        assert "nothing written" in refused.output
        assert not (tmp_path / "site.toml").exists()

        written = CliRunner().invoke(app, arguments, input="y\n")
        assert written.exit_code == 0, written.output
        assert load_profiles(tmp_path)["site"].recipe == load_profiles()["default"].recipe

    def test_yes_does_not_ask_and_switches_are_followed(self, arguments, tmp_path):
        done = CliRunner().invoke(
            app,
            [*arguments, "--yes", "--use-prior", "--reinhard", "device",
             "--training-prior", "0.1,0.2,0.2,0.2,0.3"],
        )  # fmt: skip

        assert done.exit_code == 0, done.output
        profile = load_profiles(tmp_path)["site"]
        assert profile.routing.mode == "prior"
        assert profile.routing.training_prior == TRAINING_PRIOR
        assert profile.recipe.reinhard is not None

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            (["--training-prior", "0.5,0.5"], "5 numbers over 0"),
            (["--training-prior", "a,b"], "numbers with commas"),
            (["--base", "nonsense"], "no profile 'nonsense'"),
            (["--model-path", "nowhere"], "expected a SavedModel in nowhere"),
        ],
    )
    def test_a_wrong_option_is_said_before_any_work(self, arguments, extra, message):
        failed = CliRunner().invoke(app, [*arguments, "--yes", *extra])

        assert isinstance(failed.exception, ConfigurationError)
        assert message in str(failed.exception)

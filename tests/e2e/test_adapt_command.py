"""``wbc adapt`` as a person uses it, with the committed model: a painted camera that mixes up its colours is
learnt, switched on, named by every result, and rolled back."""

import json
from dataclasses import replace

import cv2
import pytest
from typer.testing import CliRunner

from orchestrator.commands.cli import app
from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.site_head.head_file import read_head
from orchestrator.site_head.registry import HeadRegistry

SPECIMENS = ("S-1", "S-2")


@pytest.fixture(scope="module", autouse=True)
def _model(project_root):
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")


@pytest.fixture(scope="module")
def site(tmp_path_factory, synthetic_cell):
    """A folder with labelled cells of a microscope that gives blue for red, and one for heads."""
    place = tmp_path_factory.mktemp("site")
    (place / "heads").mkdir()
    for number, specimen in enumerate(SPECIMENS):
        for name in CLASS_NAMES:
            folder = place / "labelled" / specimen / name
            folder.mkdir(parents=True)
            for seed in range(3):
                rgb = synthetic_cell(name, seed=10 + 3 * number + seed)
                cv2.imwrite(str(folder / f"{seed}.png"), rgb)  # OpenCV takes it for BGR
    return place


def wbc(site, *arguments):
    environment = {"COLUMNS": "120", "WBC_HEADS_DIR": str(site / "heads")}
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


@pytest.fixture(scope="module")
def learnt(site):
    """What was said when the first head of the site was learnt."""
    result = wbc(site, "adapt", "--profile", "painted", site / "labelled")
    assert result.exit_code == 0, result.output
    return result.stdout


def analysed(site):
    image = site / "labelled" / "S-1" / "Monocyte" / "0.png"
    result = wbc(site, "analyse", image, "--profile", "painted", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_new_microscope_is_learnt_switched_on_and_rolled_back(site, learnt):
    assert "30 cells, specimens left out (2)" in learnt
    assert "painted.1:" in learnt
    assert DISCLAIMER in learnt
    before = analysed(site)
    assert before["head"] is None  # it stays off

    reason = ("--reason", "painted cells, and nobody is hurt")
    assert wbc(site, "adapt", "--profile", "painted", "--activate", *reason).exit_code == 0

    adapted = analysed(site)
    name, _, sha256 = adapted["head"].partition(":")
    assert name == "painted.1"
    assert json.loads((site / "heads" / "painted.1.head").read_text())["sha256"] == sha256
    assert adapted["probabilities"] != before["probabilities"]
    assert adapted["probabilities"]["Monocyte"] > before["probabilities"]["Monocyte"]
    assert adapted["profile_sha256"] != before["profile_sha256"]  # no audit of the one holds for the other

    back = wbc(site, "adapt", "--profile", "painted", "--roll-back", "--reason", "the end of the test")

    assert back.exit_code == 0, back.output
    after = analysed(site)
    assert after["head"] is None
    assert after["probabilities"] == before["probabilities"]
    shown = wbc(site, "adapt", "--profile", "painted").stdout
    assert "switched on" in shown
    assert "the end of the test" in shown


@pytest.mark.usefixtures("learnt")
def test_a_head_that_does_not_answer_is_said_so(site, tmp_path):
    (tmp_path / "heads").mkdir()
    registry = HeadRegistry(tmp_path / "heads")
    head = read_head(site / "heads" / "painted.1.head")
    kept = registry.add(replace(head, recipe_sha256="ab" * 32), "anna")
    registry.switch_on(kept.name, "anna", "painted cells, and nobody is hurt")

    shown = wbc(tmp_path, "adapt", "--profile", "painted").stdout
    refused = wbc(tmp_path, "adapt", "--profile", "painted", "--activate", "--reason", "once more, please")
    back = wbc(tmp_path, "adapt", "--profile", "painted", "--roll-back").stdout

    assert "profile painted: the model's own head answers" in shown
    assert "is not used: painted.1 was learnt from images that were prepared otherwise" in shown
    assert "prepared otherwise" in str(refused.exception)
    assert "is not used" not in back


def test_a_shadow_takes_the_number_of_a_version_and_ends_where_there_is_one(tmp_path):
    (tmp_path / "heads").mkdir()

    wrong = wbc(tmp_path, "adapt", "--profile", "painted", "--shadow", "newest")
    none = wbc(tmp_path, "adapt", "--profile", "painted", "--shadow", "none")

    assert "expected the number of a version or none, received 'newest'" in str(wrong.exception)
    assert "has no head in the shadow" in str(none.exception)


@pytest.mark.usefixtures("learnt")
@pytest.mark.parametrize("beside", [(), ("--activate",), ("--suggest", "5", "unlabelled")])
def test_kept_cells_are_learnt_from_beside_labelled_images_and_never_ignored(tmp_path, beside):
    result = wbc(tmp_path, "adapt", "--profile", "painted", "--cells-of", "1", *beside)

    assert "--cells-of: give labelled images" in str(result.exception)


def test_a_version_runs_in_the_shadow_of_the_model_s_own_head_until_it_is_ended(site):
    before = analysed(site)

    begun = wbc(site, "adapt", "--profile", "painted", "--shadow", 1, "--reason", "to see how often")

    assert begun.exit_code == 0, begun.output
    assert "profile painted: the model's own head answers" in begun.stdout
    assert "painted.1 runs beside it and answers nobody" in begun.stdout
    assert "wbc_head_shadow_comparisons_total" in begun.stdout
    beside = analysed(site)
    assert (beside["head"], beside["probabilities"]) == (None, before["probabilities"])
    shadowed = HeadRegistry(site / "heads").shadow("painted")
    assert (shadowed.name, HeadRegistry(site / "heads").active("painted")) == ("painted.1", None)
    ended = wbc(site, "adapt", "--profile", "painted", "--shadow", "none")
    assert ended.exit_code == 0, ended.output
    assert "runs beside it" not in ended.stdout
    shown = wbc(site, "adapt", "--profile", "painted").stdout
    assert "to see how often" in shown
    assert "shadow ended" in shown


@pytest.mark.usefixtures("learnt")
def test_a_version_answers_a_share_by_the_command_until_it_is_ended(site):
    reason = ("--reason", "painted cells, and nobody is hurt")

    begun = wbc(site, "adapt", "--profile", "painted", "--canary", 1, "--share", 0.005, *reason)

    assert begun.exit_code == 0, begun.output
    assert "profile painted: the model's own head answers" in begun.stdout
    assert "painted.1 answers for 0.5% in its place" in begun.stdout
    canary = HeadRegistry(site / "heads").canary("painted")
    assert (canary.head.name, canary.share) == ("painted.1", 0.005)
    too_much = wbc(site, "adapt", "--profile", "painted", "--canary", 1, "--share", 0.9, *reason)
    assert "at most 0.5" in str(too_much.exception)
    ended = wbc(site, "adapt", "--profile", "painted", "--canary", "none")
    assert ended.exit_code == 0, ended.output
    assert "in its place" not in ended.stdout
    shown = wbc(site, "adapt", "--profile", "painted").stdout
    assert "canary begun, 0.5%" in shown
    assert "canary ended" in shown


def test_suggestions_name_images_and_learn_nothing(site):
    kept = sorted((site / "heads").iterdir())

    result = wbc(site, "adapt", "--profile", "painted", "--suggest", 5, site / "labelled" / "S-1")

    assert result.exit_code == 0, result.output
    assert result.stdout.count(".png") == 5
    assert sorted((site / "heads").iterdir()) == kept


@pytest.mark.usefixtures("learnt")
def test_a_head_goes_from_one_site_to_another_and_takes_a_reason_there(site, tmp_path):
    file = tmp_path / "passed-on.head"

    exported = wbc(site, "adapt", "--profile", "painted", "--export", file)
    again = wbc(site, "adapt", "--profile", "painted", "--export", file)

    assert exported.exit_code == 0, exported.output
    assert "is there already" in str(again.exception)
    other = tmp_path / "other"
    (other / "heads").mkdir(parents=True)
    imported = wbc(other, "adapt", "--profile", "painted", "--import", file)
    assert imported.exit_code == 0, imported.output
    assert "painted.1 kept; it is off" in imported.stdout
    mine, theirs = (json.loads(one.read_text())["content"] for one in (file, other / "heads/painted.1.head"))
    assert (theirs["delta"], theirs["made_by"]) == (mine["delta"], mine["made_by"])
    refused = wbc(other, "adapt", "--profile", "painted", "--activate")
    assert "was learnt elsewhere" in str(refused.exception)
    reason = ("--reason", "the same scanner, seen on ten slides")
    assert wbc(other, "adapt", "--profile", "painted", "--activate", *reason).exit_code == 0

"""Networks under one protocol: scored, timed, taken up again, and none lost by another's failure."""

import csv
from pathlib import Path

import pytest
import typer

from orchestrator.errors import ConfigurationError
from tests.fakes.tiny_training import tiny_classifier, tiny_config, write_discs
from training import compare_backbones as comparison
from training.cli import app
from training.compare_backbones import CANDIDATES, COLUMNS, Candidate, compare, require_known

FAILS = Candidate("VGG16")


def build(candidate, _config):
    if candidate is FAILS:
        raise ValueError("no weights here")
    return tiny_classifier()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    protocol = tiny_config(write_discs(root / "data"), root / "results", phase1_epochs=0)
    candidates = {"broken": FAILS, "one": Candidate("MobileNetV2")}
    rows = compare(protocol, root / "results", candidates, timing_rounds=3, build_model=build)
    return root, protocol, candidates, rows


def test_a_network_is_scored_and_timed_on_both_runtimes(compared):
    _, _, _, rows = compared

    row = rows[1]
    assert tuple(row) == COLUMNS
    assert row["parameters"] == tiny_classifier().count_params()
    assert 0 <= row["macro_f1"] <= 1
    assert 0 <= row["val_accuracy"] <= 1
    assert row["ms_embedded"] > 0
    assert row["ms_keras"] > 0
    assert row["error"] is None


def test_a_network_that_fails_is_a_row_and_does_not_end_the_comparison(compared):
    _, _, _, rows = compared

    assert [row["model"] for row in rows] == ["broken", "one"]
    assert rows[0]["error"] == "no weights here"
    assert rows[0]["parameters"] is None
    assert rows[1]["error"] is None


def test_table_and_plot_are_written(compared):
    root, _, _, rows = compared

    with (root / "results" / "backbones.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["model"] for row in written] == [row["model"] for row in rows]
    assert float(written[1]["val_accuracy"]) == rows[1]["val_accuracy"]
    assert "For research use only" in (root / "results" / "backbones.md").read_text()
    assert (root / "results" / "backbones.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_network_is_not_trained_again(compared):
    root, protocol, candidates, rows = compared
    best = root / "results" / "one" / "best.keras"
    before = best.stat().st_mtime_ns

    again = compare(
        protocol, root / "results", {"one": candidates["one"]}, timing_rounds=1, build_model=build
    )

    assert best.stat().st_mtime_ns == before
    assert again[0]["val_accuracy"] == rows[1]["val_accuracy"]


def test_the_comparison_holds_the_references_five_its_own_network_and_ours():
    assert set(require_known([])) == {
        "VGG16",
        "ResNet50V2",
        "MobileNetV2",
        "EfficientNetB0",
        "DenseNet121",
        "DenseNet121+attention",
        "Compact+attention",
        "EfficientNetLite0+attention",
    }
    assert CANDIDATES["DenseNet121+attention"] == Candidate("DenseNet121", attention=True, med_swish=True)
    assert set(require_known(["DenseNet121_vanilla"])) == {"DenseNet121"}, "the reference's own name of it"
    with pytest.raises(ConfigurationError, match="ResNet9"):
        require_known(["VGG16", "ResNet9"])


@pytest.fixture
def asked(monkeypatch):
    """The protocol and the names that a command line comes to."""
    seen = []

    def remember(protocol, _results_dir, candidates, **_):
        seen.append((protocol, list(candidates)))
        return [dict.fromkeys(COLUMNS) | {"model": name} for name in candidates]

    monkeypatch.setattr(comparison, "compare", remember)

    def parse(*arguments):
        typer.main.get_command(app).main(["compare-backbones", *arguments], standalone_mode=False)
        return seen[-1]

    return parse


@pytest.mark.parametrize(
    "arguments",
    [
        ("--models", "VGG16", "DenseNet121_vanilla"),  # as the reference's own command line has it
        ("--models", "VGG16", "DenseNet121", "--batch-size", "8"),
        ("--models", "VGG16,DenseNet121"),
        ("--models", "VGG16", "--models", "DenseNet121"),
    ],
)
def test_several_models_are_named_in_any_of_the_usual_ways(asked, arguments):
    assert asked(*arguments)[1] == ["VGG16", "DenseNet121"]


def test_the_references_command_line_is_understood(asked):
    protocol, names = asked("--data-root", "d", "--results-dir", "r")

    assert (protocol.data_root, protocol.run_dir, len(names)) == (Path("d"), Path("r"), len(CANDIDATES))
    assert (protocol.img_size, protocol.phase1_epochs, protocol.phase2_epochs) == (224, 15, 15)


def test_a_fast_run_is_short_and_small_but_where_another_size_is_typed(asked):
    def sizes(*arguments):
        protocol, _ = asked("--fast", *arguments)
        return protocol.img_size, protocol.phase1_epochs, protocol.phase2_epochs

    assert sizes() == (96, 0, 2)
    assert sizes("--img-size", "64") == (64, 0, 2)
    assert sizes("--epochs", "3", "--frozen-epochs", "1") == (96, 1, 3)


def test_a_comparison_in_which_one_failed_says_why_in_full_and_does_not_end_as_a_success(monkeypatch, capsys):
    reason = "no weights " * 30 + "[here]"
    row = dict.fromkeys(COLUMNS) | {"model": "VGG16", "error": reason}
    monkeypatch.setattr(comparison, "compare", lambda *_, **__: [row])

    assert typer.main.get_command(app).main(["compare-backbones"], standalone_mode=False) == 1
    assert f"VGG16 failed: {reason}" in capsys.readouterr().out

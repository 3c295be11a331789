"""Evaluating in this process and through the running service gives the very same results."""

from typer.testing import CliRunner

from tests.painted_splits import paint_splits
from tests.running_service import running_service
from training.cli import app


def test_both_ways_write_the_same_predictions_to_the_last_digit(small_exported_model, tmp_path):
    root = paint_splits(tmp_path / "data", {"TestA": 2})
    common = [
        "evaluate",
        "--data-root",
        str(root),
        "--split",
        "TestA",
        "--focus",
        "--resamples",
        "50",
    ]
    runner = CliRunner()

    in_process = runner.invoke(
        app,
        [
            *common,
            "--output-dir", str(tmp_path / "here"),
            "--model-path", str(small_exported_model.version_dir),
            "--batch-size", "3",
        ],
    )  # fmt: skip
    with running_service(
        environment={"WBC_MODEL_REPOSITORY": str(small_exported_model.repository)}
    ) as service:
        through_service = runner.invoke(
            app,
            [
                *common,
                "--output-dir",
                str(tmp_path / "there"),
                "--endpoint",
                service.url,
                "--concurrency",
                "3",
            ],
        )

    assert in_process.exit_code == 0, in_process.output
    assert through_service.exit_code == 0, through_service.output
    here, there = ((tmp_path / way / "TestA" / "predictions.csv").read_text() for way in ("here", "there"))
    assert here == there
    assert len(here.splitlines()) == 11
    assert here.count(",own") == 10  # the focus was measured, both times

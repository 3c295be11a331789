"""``wbc-train evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console

from orchestrator.domain import MefVersion, RoutingMode
from orchestrator.errors import ConfigurationError
from orchestrator.vision.tta import TtaMode
from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot, option
from training.run_config import ColourNormalisation

if TYPE_CHECKING:
    from training.evaluate import EvaluationSettings

_WHAT, _WAY, _SERVICE = "What is evaluated", "The way to a decision", "Through a running service"


def evaluate(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    model_path: Annotated[
        Path,
        option(
            "A version folder of the model repository (a SavedModel), or a trained model of any backbone "
            "(.keras).",
            _WHAT,
        ),
    ] = DEFAULT_MODEL,
    output_dir: Annotated[
        Path, option("Gets a folder per split, and one for all splits together.", _WHAT)
    ] = Path("outputs"),
    split: Annotated[
        list[str] | None, option("Repeatable; TestA and TestB where neither is named.", _WHAT)
    ] = None,
    more_device: Annotated[
        list[Path] | None,
        option("A folder <device>/<Class>/*, but for what is held back there (repeatable).", _WHAT),
    ] = None,
    limit: Annotated[
        int | None, option("At most this many images of a split, drawn by --seed.", _WHAT, min=1)
    ] = None,
    seed: Annotated[int, option("Of --limit and of the Reinhard reference's images.", _WHAT)] = 42,
    resamples: Annotated[int, option("Of the bootstrap that makes the intervals.", _WHAT, min=10)] = 2000,
    ablation: Annotated[
        bool,
        option(
            "Instead: the adaptation table and the preprocessing table (ablation.csv, ablation.md).",
            _WHAT,
            "--ablation",
        ),
    ] = False,
    compare_tta: Annotated[
        bool,
        option(
            "Instead: one table of no, light and adaptive test-time augmentation (tta.csv, tta.md).",
            _WHAT,
            "--compare-tta",
        ),
    ] = False,
    temperature: Annotated[
        float | None,
        option(
            "Of the ablation's row; where absent, fitted on the validation part of the reference split.",
            _WHAT,
            min=0.01,
        ),
    ] = None,
    focus: Annotated[
        bool,
        option(
            "Measure the share of the heatmap on the cell: by the true masks of manifest.csv where there are "
            "any, otherwise by our own.",
            _WHAT,
            "--focus",
        ),
    ] = False,
    profile: Annotated[str, option("Device profile: preprocessing, TTA, routing.", _WAY)] = "default",
    profiles_dir: Annotated[
        Path | None, option("Folder of your own profiles, such as `wbc-train profile` writes.", _WAY)
    ] = None,
    preprocessing: Annotated[
        MefVersion | None,
        option("Version of the Medical Enhanced Filter instead of the profile's.", _WAY),
    ] = None,
    crop_scale: Annotated[
        float | None,
        option(
            "Side of the cell-centred crop in cell sizes instead of the profile's; 0: the whole frame.",
            _WAY,
            min=0.0,
        ),
    ] = None,
    color_normalization: Annotated[
        ColourNormalisation | None, option("Instead of the profile's.", _WAY)
    ] = None,
    normalization_reference_split: Annotated[
        str, option("Split that the Reinhard reference and the training shares come from.", _WAY)
    ] = "Train",
    normalization_reference_samples: Annotated[
        int, option("At most this many of its images make the Reinhard reference.", _WAY, min=1)
    ] = 1200,
    tta: Annotated[TtaMode | None, option("Instead of the profile's.", _WAY)] = None,
    testb_binary_mode: Annotated[
        RoutingMode | None,
        option(
            "Routing of TestB instead of the profile's. main and aux presume that it holds only lymphocytes "
            "and neutrophils; prior estimates from its cells how often each class occurs.",
            _WAY,
        ),
    ] = None,
    runtime: Annotated[
        Literal["embedded", "tensorflow"],
        option("What runs a SavedModel: OpenVINO, as the service does, or TensorFlow.", _WAY),
    ] = "embedded",
    batch_size: Annotated[
        int, option("Images (of 1 or 8 views) that go through the network at once.", _WAY, min=1)
    ] = 4,
    endpoint: Annotated[
        str | None,
        option("Root URL of a running service, such as http://localhost:8000: let it judge.", _SERVICE),
    ] = None,
    concurrency: Annotated[
        int, option("Images under way at the service at once.", _SERVICE, min=1, max=64)
    ] = 4,
    timeout_s: Annotated[
        float, option("How long an answer of the service may take.", _SERVICE, min=1.0)
    ] = 60.0,
) -> None:
    """Score a model, with 95 % intervals: how right, how honest about it, and what a review is worth.

    Each split's folder gets classification_report.txt, confusion_matrix.png, predictions.csv, reliability.png
    and metrics.json. Options that are left out leave the way as the device profile has it, which is the way
    of the service; --endpoint asks a running service and, with the same model and profile, gives the very
    same predictions.csv. A .keras file is shown the pixels of its own run (crop, filter, colours), where the
    run's manifest lies beside it, and is judged without what an export adds, the evidence of a cell's
    measures.
    For research use only. Not for use in diagnostic procedures.
    """
    from training.evaluate import (
        EvaluationSettings,
        evaluate_splits,
        evaluate_through,
        scores_table,
        trust_table,
    )

    settings = EvaluationSettings(
        data_root=data_root,
        output_dir=output_dir,
        splits=tuple(dict.fromkeys(split or (() if more_device else ("TestA", "TestB")))),
        more_devices=tuple(more_device or ()),
        model_path=model_path,
        runtime=runtime,
        profile=profile,
        profiles_dir=profiles_dir,
        batch_size=batch_size,
        limit=limit,
        tta=tta,
        testb_binary_mode=testb_binary_mode,
        color_normalization=color_normalization,
        normalization_reference_split=normalization_reference_split,
        normalization_reference_samples=normalization_reference_samples,
        preprocessing=preprocessing,
        crop_scale=crop_scale,
        seed=seed,
        focus=focus,
        resamples=resamples,
    )
    console = Console()
    if temperature is not None and not ablation:
        raise ConfigurationError("--temperature belongs to --ablation; a profile's stands in its file")
    if compare_tta:
        if endpoint is not None or ablation:
            raise ConfigurationError(
                "--compare-tta is a table of its own: leave out --endpoint and --ablation"
            )
        _compare_tta(settings, console)
        return
    if ablation:
        if endpoint is not None:
            raise ConfigurationError(
                "--ablation changes what a service does not let a caller change: leave out --endpoint"
            )
        _ablation(settings, temperature, console)
        return
    if endpoint is None:
        scores = evaluate_splits(settings)
        judged_by = f"{model_path}, {runtime}"
    else:
        from training.endpoint import Endpoint

        scores = evaluate_through(Endpoint(endpoint, concurrency, timeout_s), settings)
        judged_by = endpoint
    console.print(scores_table(scores, f"{judged_by}, profile {profile}"))
    console.print(trust_table(scores))
    console.print(f"written: {output_dir}", highlight=False)


def _compare_tta(settings: "EvaluationSettings", console: Console) -> None:
    from training.predictors import model_identity
    from training.tta_comparison import compare_tta, markdown, terminal_table, write_csv

    rows = compare_tta(settings)
    folder = settings.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "tta.csv", rows)
    text = markdown(rows, model_identity(settings.model_path), settings.profile)
    (folder / "tta.md").write_text(text, encoding="utf-8")
    console.print(terminal_table(rows))
    console.print(f"written: {folder / 'tta.csv'}, {folder / 'tta.md'}", highlight=False)


def _ablation(settings: "EvaluationSettings", temperature: float | None, console: Console) -> None:
    from training.ablation import run_ablation
    from training.ablation_tables import markdown, terminal_tables, write_csv
    from training.predictors import model_identity

    rows = run_ablation(settings, temperature)
    folder = settings.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "ablation.csv", rows)
    text = markdown(rows, model_identity(settings.model_path))
    (folder / "ablation.md").write_text(text, encoding="utf-8")
    for table in terminal_tables(rows):
        console.print(table)
    console.print(f"written: {folder / 'ablation.csv'}, {folder / 'ablation.md'}", highlight=False)

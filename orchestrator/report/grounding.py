"""Whether a report's text rests on its facts: every check that a report must pass, whoever wrote it.

The checks read the text and nothing of what the writer says about it. They err on the strict side, see
:mod:`orchestrator.report.vocabulary`.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal

from orchestrator.report.base import MAX_WORDS
from orchestrator.report.facts import Facts
from orchestrator.report.morphology import MORPHOLOGY
from orchestrator.report.vocabulary import (
    CERTAINTY,
    CLAIMS_TO_HAVE_SEEN,
    CLASS_STEMS,
    CONFIDENCE_STEMS,
    CONFIDENCE_WORDS,
    DIAGNOSIS,
    FRACTIONS,
    HEATMAP_STEMS,
    MORPHOLOGY_STEMS,
    MOSTLY,
    NUMBER_WORDS,
    OFF,
    OTHER_CELLS,
    REGION_STEMS,
    SPOKEN_TO,
    TREATMENT,
    fold,
    is_written_in,
)

Fault = Literal[
    "length", "markup", "language", "class", "number", "region", "diagnosis", "treatment", "claim"
]
"""``number``: a figure or a degree of confidence, ``claim``: a structure, a colour, a name, an observation or
certainty, that the facts do not hold."""

MIN_WORDS: Final = 8
"""Fewer cannot name class, confidence and region."""

_PLAIN: Final = re.compile(r"[A-Za-zÇĞİÖŞÜçğıöşüâîû0-9 .,;:()%'’\"“”\-–—]+")
_ADDRESS: Final = re.compile(r"www\.|[a-zçğıöşü]{2,}\.[a-zçğıöşü]{2,}")
_NUMBER: Final = re.compile(r"(%\s?|yüzde )?(\d+(?:[.,]\d+)?)(\s?(?:%|percent|per cent))?")
"""A number, and whether it is one of percent."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_CLAUSE_END: Final = re.compile(r"[;:()–—]|[.,](?!\d)|\b(?:and|while|ve|ise)\b")
_CAPITALISED: Final = re.compile(r"(?<=[^.!?:]\s)[\"“(]?([A-ZÇĞİÖŞÜ][\w-]*)")

_ACRONYM: Final = re.compile(r"\b[A-ZÇĞİÖŞÜ]{2,}\b")

_Role = Literal["class", "second", "confidence", "nucleus", "cytoplasm", "background", "other"]


def faults(text: str, facts: Facts) -> frozenset[Fault]:
    """What is wrong with a report of these facts; empty for a good one."""
    return frozenset(_faults(text, facts))


def _faults(text: str, facts: Facts) -> Iterator[Fault]:
    folded = fold(text, facts.language)
    if not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
        yield "length"
    if not _PLAIN.fullmatch(text) or _ADDRESS.search(folded) or not text.endswith("."):
        yield "markup"  # a text that stops within a sentence was cut
    if not is_written_in(text, facts.language):
        yield "language"
    if not _names_the_class(folded, facts):
        yield "class"
    if not (_numbers_agree(folded, facts) and _degrees(folded) <= _degrees(facts.confidence)):
        yield "number"
    if not _region_agrees(folded, facts):
        yield "region"
    # Also as English: in Turkish the capital I is another letter, which would hide LEUKAEMIA.
    either = f"{folded} {text.lower()}"
    if DIAGNOSIS.search(either):
        yield "diagnosis"
    if TREATMENT.search(either):
        yield "treatment"
    if _claims_more(text, folded, facts):
        yield "claim"


def _names_the_class(folded: str, facts: Facts) -> bool:
    """It names the class decided on, and none that the facts do not name, be it one of the five or not."""
    if OTHER_CELLS.search(folded):
        return False
    mentioned = {name for name, stem in CLASS_STEMS.items() if stem.search(folded)}
    allowed = {facts.decided.class_name}
    if facts.second:
        allowed.add(facts.second.class_name)
    if facts.decided_by in ("main", "aux"):
        allowed |= {"Lymphocyte", "Neutrophil"}
    return facts.decided.class_name in mentioned <= allowed


def _numbers_agree(folded: str, facts: Facts) -> bool:
    """Each percentage is one of the facts and stands beside what it measures, the confidence among them;
    other numbers are those of the structures that one looks for."""
    if FRACTIONS.search(folded):
        return False
    by_role = _figures(facts)
    structures = _structure_numbers(facts)
    own_words = fold(" ".join((*facts.looked_for, *facts.review)), facts.language)
    number_words = NUMBER_WORDS[facts.language]
    for word in re.findall(r"[^\W\d_]+", folded):
        if word in number_words and not re.search(rf"\b{word}", own_words) and not _is_ordinary(word, facts):
            return False
    found: set[str] = set()
    for sentence in _SENTENCE_END.split(folded):
        roles: set[_Role] = set()
        for clause in _CLAUSE_END.split(sentence):
            # A number without a subject of its own belongs to the one named before: "nucleus (72 %)".
            roles = _roles(clause, facts) or roles
            allowed = set().union(*(by_role.get(role, set()) for role in roles or by_role))
            if not roles & {"class", "second", "confidence"}:
                allowed |= by_role["other"]
            for before, number, after in _NUMBER.findall(clause):
                figure = number.replace(",", ".")
                if figure not in (allowed if before or after else structures):
                    return False
                found.add(figure)
    return bool(found & by_role["confidence"])


def _degrees(folded: str) -> set[str]:
    """The words for a confidence."""
    return {english or turkish for english, turkish in CONFIDENCE_WORDS.findall(folded)}


def _is_ordinary(word: str, facts: Facts) -> bool:
    """``between the two``: a word of any text about two classes."""
    return word in ("two", "iki") and (facts.second is not None or facts.decided_by in ("main", "aux"))


def _figures(facts: Facts) -> dict[_Role, set[str]]:
    """The figures that may stand for each subject: as in the facts, or in whole percents."""
    confidence = _spellings(facts.decided.percent)
    figures: dict[_Role, set[str]] = {
        "class": confidence,
        "confidence": confidence,
        "second": _spellings(facts.second.percent) if facts.second else set(),
        "other": set(),
    }
    if facts.heatmap:
        shares = facts.heatmap
        figures |= {
            "nucleus": {str(shares.nucleus)},
            "cytoplasm": {str(shares.cytoplasm)},
            "background": {str(shares.background)},
            "other": {str(shares.on_cell)},
        }
    return figures


def _spellings(figure: str) -> set[str]:
    """``97.3`` and ``97``; nothing is rounded to certainty, or to none."""
    whole = f"{float(figure):.0f}"
    return {figure, whole} - ({"100", "0"} if figure not in ("100.0", "0.0") else set())


def _structure_numbers(facts: Facts) -> set[str]:
    words = re.findall(r"[^\W\d_]+", fold(" ".join(facts.looked_for), facts.language))
    values = NUMBER_WORDS[facts.language]
    return {str(values[word]) for word in words if word in values}


def _roles(clause: str, facts: Facts) -> set[_Role]:
    """What a clause speaks of."""
    roles: set[_Role] = set()
    for region in ("nucleus", "cytoplasm", "background"):
        if REGION_STEMS[region].search(clause):
            roles.add(region)
    if CLASS_STEMS[facts.decided.class_name].search(clause):
        roles.add("class")
    if facts.second and CLASS_STEMS[facts.second.class_name].search(clause):
        roles.add("second")
    if CONFIDENCE_STEMS.search(clause) and not roles & {"class", "second"}:
        roles |= {"confidence", "second"}
    return roles


def _region_agrees(folded: str, facts: Facts) -> bool:
    """It says where the heatmap lies, and calls no other region the main one."""
    place = facts.region
    if place == "none":
        return not re.search(r"heat ?map|grad-cam|ısı harita", folded)
    if not HEATMAP_STEMS.search(folded):
        return False
    if place in REGION_STEMS and not REGION_STEMS[place].search(folded):
        return False
    if place in ("unknown", "nowhere"):
        return True
    if place in REGION_STEMS and OFF.search(folded):
        return False
    for clause in _CLAUSE_END.split(folded):
        named = {region for region, stem in REGION_STEMS.items() if stem.search(clause)}
        if named and MOSTLY.search(clause) and place not in named:
            return False
    return True


def _claims_more(text: str, folded: str, facts: Facts) -> bool:
    if any(said.search(folded) for said in (CLAIMS_TO_HAVE_SEEN, CERTAINTY, SPOKEN_TO)):
        return True
    own_words = fold(" ".join((*facts.looked_for, *facts.review, *_regional_words(facts))), facts.language)
    if any(stem.search(folded) and not stem.search(own_words) for stem in MORPHOLOGY_STEMS):
        return True
    if any(not word.endswith("CAM") for word in _ACRONYM.findall(text)):
        return True
    # A capital within a sentence is a name; the facts hold no other names than those of classes.
    names = {fold(name, facts.language) for name in _CAPITALISED.findall(text)}
    return any(
        not any(stem.search(name) for stem in CLASS_STEMS.values()) and not name.startswith("grad-cam")
        for name in names
    )


def _regional_words(facts: Facts) -> Iterator[str]:
    """The structures as they are worded after their region has been named."""
    for structure in MORPHOLOGY[facts.decided.class_name].structures:
        yield structure.there[facts.language]

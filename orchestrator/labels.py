"""What a cell may be called: the model's five classes, and the words that a person has beside them.

The one table of these words: what may be decided, what a count is a share of, the keys of the page and the
rows of every format follow from it. The model tells its five classes apart, and no other: of the rest a
differential has a row where a person used the word. An English word is a label's name.

References
----------
CLSI H20-A2, "Reference leukocyte (WBC) differential count": nucleated red cells are told per 100 white cells,
and are none of the 100; band forms and segmented neutrophils are told apart or together.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.model_contract import CLASS_NAMES

Denominator = Literal["white_cells", "per_100_white_cells", "none"]
"""What a label's cells are a share of: of the white cells, among which they count; of these, without being
among them; of nothing, so that their number alone is told."""

SmudgeRule = Literal["white_cells", "lymphocytes", "per_100_white_cells", "none"]
"""What a site does with smudge cells: one of the denominators, or count them among the lymphocytes, whose
remains they mostly are."""

NEUTROPHIL: Final = "Neutrophil"
UNIDENTIFIED: Final = "Unidentified"
SMUDGE: Final = "Smudge"
NUCLEATED_RED_CELL: Final = "Nucleated red cell"

MAX_LENGTH: Final = 32
NAME: Final = r"^[A-Z][A-Za-z]*(?:[ -][A-Za-z0-9]+)*$"
"""What a name may be: it stands in codes, keys and other systems' messages."""


@dataclass(frozen=True, slots=True)
class Label:
    """``turkish`` and ``key`` are those of the page; cells of a label that is ``part_of`` another one count
    in both."""

    name: str
    turkish: str
    key: str
    denominator: Denominator = "white_cells"
    part_of: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is a site's own."""
        return self.name not in {label.name for label in _BUILT_IN}

    @property
    def is_whole(self) -> bool:
        """Whether it is one of those that sum to all white cells."""
        return self.denominator == "white_cells" and self.part_of is None

    @property
    def slug(self) -> str:
        """The name as it stands in codes."""
        return slug(self.name)


def slug(name: str) -> str:
    """A label's name as it stands in codes: ``nucleated-red-cell``."""
    return name.lower().replace(" ", "-")


_MODELS: Final = tuple(
    Label(name, turkish, str(number))
    for number, (name, turkish) in enumerate(
        zip(CLASS_NAMES, ("Bazofil", "Eozinofil", "Lenfosit", "Monosit", "Nötrofil"), strict=True), start=1
    )
)

_BUILT_IN: Final = (
    *_MODELS,
    Label(UNIDENTIFIED, "Tanımlanamayan", "0"),
    Label("Band", "Çomak", "6", part_of=NEUTROPHIL),
    Label("Segmented", "Parçalı", "7", part_of=NEUTROPHIL),
    Label("Immature granulocyte", "Olgunlaşmamış granülosit", "8"),
    Label("Blast", "Blast", "9"),
    Label("Atypical lymphocyte", "Atipik lenfosit", "q"),
    Label(NUCLEATED_RED_CELL, "Çekirdekli eritrosit", "w", "per_100_white_cells"),
    Label(SMUDGE, "Basket hücresi", "e"),
    Label("Giant platelet", "Dev trombosit", "r", "none"),
    Label("Artefact", "Artefakt", "t", "none"),
)

CELL_LABELS: Final = (*CLASS_NAMES, UNIDENTIFIED)
"""Those of which every differential has a row, as the service itself counts by them."""


@dataclass(frozen=True, slots=True)
class Labels:
    """All that a person may call a cell at a site, in the order in which they are shown."""

    by_name: Mapping[str, Label]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.by_name.values())

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def of(self, name: str) -> Label:
        """The label of a name; of one that the site has no more, a white cell of none of the five classes."""
        return self.by_name.get(name) or Label(name, name, "")

    def class_of(self, name: str) -> str | None:
        """The class of the model that the cells of a label are among; None where there is none."""
        found = self.of(name).part_of or name
        return found if found in CLASS_NAMES else None


def labels_of(own: Sequence[Label] = (), smudge: SmudgeRule = "per_100_white_cells") -> Labels:
    """Those that came with the service, then a site's ``own``, with the site's rule for smudge cells.

    Raises ``ValueError``, which says what was expected and what was received, where the name of an own one is
    none or taken, its key is taken, or it is part of what is no class of the model.
    """
    found = {label.name: label for label in _BUILT_IN}
    found[SMUDGE] = (
        replace(found[SMUDGE], part_of="Lymphocyte")
        if smudge == "lymphocytes"
        else replace(found[SMUDGE], denominator=smudge)
    )
    for label in own:
        _require(label, found)
        found[label.name] = label
    return Labels(MappingProxyType(found))


def _require(label: Label, others: Mapping[str, Label]) -> None:
    name = label.name
    if len(name) > MAX_LENGTH or not re.fullmatch(NAME, name):
        raise ValueError(
            f"name: expected English words of letters, the first one capital, of at most {MAX_LENGTH} "
            f"characters, received {name!r}"
        )
    if slug(name) in {other.slug for other in others.values()}:
        raise ValueError(f"name: expected one that no other label has, received {name!r}")
    if label.key and label.key in {other.key for other in others.values()}:
        raise ValueError(f"{name}, key: expected one that no other label has, received {label.key!r}")
    if label.part_of is not None and (label.part_of not in CLASS_NAMES or label.denominator != "white_cells"):
        raise ValueError(
            f"{name}, part_of: expected one of {', '.join(CLASS_NAMES)} for a label of the white cells, "
            f"received {label.part_of!r}"
        )


LABELS: Final = labels_of()
"""Those of a site that has none of its own, and the built-in rule for smudge cells."""

"""What makes each class recognisable under the microscope, and in which part of the cell that is looked for.

A structure stands here only to say where to look: neither a heatmap nor a report knows whether a cell
shows it. (The class Neutrophil, for one, also holds band forms, whose nucleus has no lobes yet.)

References
----------
The structures are those that the reference system names for its reports. Compare Tsutsui et al. 2023,
"WBCAtt: a white blood cell dataset annotated with detailed morphological attributes", NeurIPS Datasets and
Benchmarks (nucleus shape, nucleus-to-cytoplasm ratio, vacuoles, granule colour and type), and Palmer et
al. 2015, "ICSH recommendations for the standardization of nomenclature and grading of peripheral blood
cell morphological features", Int J Lab Hematol 37:287-303.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.domain import Language

Region = Literal["nucleus", "cytoplasm"]


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure: ``regions`` are where it is looked for (any of them).

    ``decisive`` structures tell the class from the others, the rest only supports. ``there`` names the
    structure after its region has been named ("the nucleus, where one looks for <there>"), ``full`` by
    itself ("one looks for <full>").
    """

    regions: frozenset[Region]
    decisive: bool
    there: Mapping[Language, str]
    full: Mapping[Language, str]


@dataclass(frozen=True, slots=True)
class Morphology:
    """A class's name in each language, and its structures.

    ``label`` stands by itself, ``noun`` within a sentence: in English with its article.
    """

    label: Mapping[Language, str]
    noun: Mapping[Language, str]
    structures: tuple[Structure, ...]

    @property
    def decisive(self) -> tuple[Structure, ...]:
        """The structures that tell the class from the others."""
        return tuple(s for s in self.structures if s.decisive)

    def looked_for_in(self, region: Region) -> tuple[Structure, ...]:
        """The structures that are looked for in a region."""
        return tuple(s for s in self.structures if region in s.regions)


def _texts(en: str, tr: str) -> Mapping[Language, str]:
    return MappingProxyType({"en": en, "tr": tr})


_NUCLEUS: Final[frozenset[Region]] = frozenset({"nucleus"})
_CYTOPLASM: Final[frozenset[Region]] = frozenset({"cytoplasm"})

MORPHOLOGY: Final[Mapping[str, Morphology]] = MappingProxyType(
    {
        "Basophil": Morphology(
            _texts("Basophil", "Bazofil"),
            _texts("a basophil", "bazofil"),
            (
                # The granules fill the cell and hide the nucleus: they are looked for all over it.
                Structure(
                    _NUCLEUS | _CYTOPLASM,
                    True,
                    _texts("coarse, dark granules", "iri, koyu renkli granüller"),
                    _texts(
                        "coarse, dark granules over the nucleus", "çekirdeği örten iri, koyu renkli granüller"
                    ),
                ),
            ),
        ),
        "Eosinophil": Morphology(
            _texts("Eosinophil", "Eozinofil"),
            _texts("an eosinophil", "eozinofil"),
            (
                Structure(
                    _NUCLEUS,
                    True,
                    _texts("two lobes", "iki lob"),
                    _texts("a two-lobed nucleus", "iki loblu bir çekirdek"),
                ),
                Structure(
                    _CYTOPLASM,
                    True,
                    _texts("orange-red granules", "turuncu-kırmızı granüller"),
                    _texts("orange-red granules in the cytoplasm", "sitoplazmada turuncu-kırmızı granüller"),
                ),
            ),
        ),
        "Lymphocyte": Morphology(
            _texts("Lymphocyte", "Lenfosit"),
            _texts("a lymphocyte", "lenfosit"),
            (
                Structure(
                    _NUCLEUS,
                    True,
                    _texts("a round shape and dense chromatin", "yuvarlak biçim ve yoğun kromatin"),
                    _texts("a round, dense nucleus", "yoğun kromatinli, yuvarlak bir çekirdek"),
                ),
                Structure(
                    _CYTOPLASM,
                    False,
                    _texts("a thin rim", "çekirdeği çevreleyen dar bir şerit"),
                    _texts("a thin rim of cytoplasm", "çekirdeği çevreleyen dar bir sitoplazma şeridi"),
                ),
            ),
        ),
        "Monocyte": Morphology(
            _texts("Monocyte", "Monosit"),
            _texts("a monocyte", "monosit"),
            (
                Structure(
                    _NUCLEUS,
                    True,
                    _texts("a kidney shape", "böbrek benzeri bir şekil"),
                    _texts("a kidney-shaped nucleus", "böbrek şeklinde bir çekirdek"),
                ),
                Structure(
                    _CYTOPLASM,
                    False,
                    _texts("vacuoles", "vakuoller"),
                    _texts("vacuoles in the cytoplasm", "sitoplazmada vakuoller"),
                ),
            ),
        ),
        "Neutrophil": Morphology(
            _texts("Neutrophil", "Nötrofil"),
            _texts("a neutrophil", "nötrofil"),
            (
                Structure(
                    _NUCLEUS,
                    True,
                    _texts(
                        "three to five lobes joined by thin filaments",
                        "ince kromatin iplikçikleriyle bağlı üç ila beş lob",
                    ),
                    _texts(
                        "three to five nuclear lobes joined by thin filaments",
                        "ince kromatin iplikçikleriyle bağlı üç ila beş loblu bir çekirdek",
                    ),
                ),
            ),
        ),
    }
)
"""Class name of the model contract -> its morphology."""

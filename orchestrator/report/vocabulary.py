"""Words by which a report is checked, in both languages: what it may not say, and what it must rest on.

Patterns match folded text (:func:`fold`). They are meant to be strict: an honest sentence that one of them
refuses costs a language model's answer, and the rule-based report takes its place.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from orchestrator.domain import Language

Pattern = re.Pattern[str]


def fold(text: str, language: Language) -> str:
    """Lower case, by the language's rules: the capital of the Turkish i has its dot."""
    if language == "tr":
        text = text.replace("İ", "i").replace("I", "ı")
    return text.replace("İ", "i").lower()


def _starting(*stems: str) -> Pattern:
    return re.compile(r"\b(?:" + "|".join(stems) + ")")


CLASS_STEMS: Final[Mapping[str, Pattern]] = MappingProxyType(
    {
        "Basophil": _starting("basophil", "bazofil"),
        "Eosinophil": _starting("eosinophil", "eozinofil"),
        "Lymphocyte": _starting("lymphocyt", "lenfosit"),
        "Monocyte": _starting("monocyt", "monosit"),
        "Neutrophil": _starting("neutrophil", "n[öo]trofil"),
    }
)

REGION_STEMS: Final[Mapping[str, Pattern]] = MappingProxyType(
    {
        "nucleus": _starting("nucle(?!ol)", "çekirde", "nükle(?!ol)"),
        "cytoplasm": _starting("cytoplasm", "sitoplazma"),
        "background": _starting(
            "background", r"(?:outside|beside|off) (?:of )?the cell", "arka ?plan", "hücrenin dışı"
        ),
    }
)

CONFIDENCE_STEMS: Final = _starting("confiden", "probab", "certain", "güven", "olasılı")

HEATMAP_STEMS: Final = _starting("heat ?map", "grad-cam", "attention", "activation", "ısı harita", "dikkat")

MOSTLY: Final = _starting(
    "most", "main", "primar", "predominant", "large", "major", "concentrat", "focus", "cent(?:er|re|ring)",
    "chief", "bulk", "büyük", "çoğun", "çoğu", "ağırlık", "yoğunlaş", "başlıca", "esas", "odak", "temel",
)  # fmt: skip

DIAGNOSIS: Final = _starting(
    "diagnos", "leuk[ae]*mi", "lymphom", "myelom", "infect", "inflam", "diseas", "disorder", "patient",
    "normal", "abnormal", "patholog", "malign", "cancer", "tumou?r", "allerg", "ana?emi", "health", "benign",
    "suffer", "risk", "syndrom", "symptom", "sepsis", "septic", "viral", "virus", "bacteri", "parasit",
    "fung[ai]", "prognos", "clinical", "immun", "reactive", "toxic", "blast", "immature", "atyp", "deficien",
    "chronic", "acute", r"\w+philia\b", r"\w+cytosis\b", r"\w+penia\b",
    "tanı(?![mn])", "teşhis", "lösemi", "lenfom", "miyelom", "enfeksiyon", "iltihap", "enflam", "hasta",
    "bozukluk", "anormal", "patoloj", "kanser", "tümör", "alerji", "anemi", "sağlık", "iyi huylu",
    "kötü huylu", "sendrom", "semptom", "belirtisi", "belirtiler", "virüs", "bakteri", "parazit", "mantar",
    "klinik", "bağışık", "immün", "reaktif", "toksik", "atipik", "olgunlaşmamış", "kronik", "akut",
    r"\w+sitoz\b", r"\w+peni\b",
)  # fmt: skip

TREATMENT: Final = _starting(
    "treat", "therap", "drug", "medicat", "medicine", "dos(?:e|age|ing)", "antibiot", "steroid", "chemo",
    "prescri", "surg", "biops", "transfus", "hospital", "consult", "doctor", "physician", "ha?ematologist",
    "tedavi", "terapi", "ilaç", r"doz\b", "antibiyot", "kemoterapi", "ameliyat", "biyopsi", "transfüzyon",
    "hastane", "doktor", "hekim", "hematolog",
)  # fmt: skip

CLAIMS_TO_HAVE_SEEN: Final = re.compile(
    r"\b(?:seen|visible|visibly|observ\w+|reveal\w*|detect\w*|display\w*|exhibit\w*|contain\w*|present"
    r"|evident\w*|apparent\w*|appears?|identified"
    r"|(?:cell|nucleus|cytoplasm|image|smear) (?:\w+ )?(?:shows?|has|have)"
    r"|görül\w*|görün(?!t)\w*|gözlen\w*|gözlem\w*|içeriyor\w*|içerir|içermekte\w*|mevcut\w*|izlen\w*"
    r"|saptan\w*|tespit|sahip\w*|belirgin\w*)\b"
)
"""Nobody who writes a report has seen the cell."""

MORPHOLOGY_STEMS: Final[tuple[Pattern, ...]] = tuple(
    _starting(stem)
    for stem in (
        "granul", "lob", "kidney", "renal", "bean", "horseshoe", "vacuol", "filament", "bridg", r"rim\b",
        "chromatin", "nucleol", "auer", "d[öo]hle", "inclusion", "indent", "segment", "coarse", r"fine\b",
        "round", "oval", "irregular", "dense", r"thin\b", "thick", "dark", "pale", "bright",
        r"red\b", "orange", "pink", "blue", "purple", "violet", "azur",
        "granül", "böbrek", "fasulye", "at nalı", "vakuol", "iplik", "köprü", "şerit", "kromatin", "nükleol",
        "inklüzyon", "çentik", r"iri\b", r"ince\b", "yuvarlak", "düzensiz", r"dar\b", "koyu", "soluk",
        "kırmızı", "turuncu", "pembe", "mavi", r"mor\b", "eflatun",
    )
)  # fmt: skip
"""Structures, shapes and colours: a report may use those that its facts name."""

NUMBER_WORDS: Final[Mapping[Language, Mapping[str, int]]] = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
                "ten": 10, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
                "eighty": 80, "ninety": 90, "hundred": 100,
            }
        ),
        "tr": MappingProxyType(
            {
                "iki": 2, "üç": 3, "dört": 4, "beş": 5, "yedi": 7, "sekiz": 8, "dokuz": 9, "on": 10,
                "yirmi": 20, "otuz": 30, "kırk": 40, "elli": 50, "altmış": 60, "yetmiş": 70, "seksen": 80,
                "doksan": 90,
            }
        ),
    }
)  # fmt: skip
"""Without what is also another word: ``altı`` (under), ``yüz`` (face)."""

_FUNCTION_WORDS: Final[Mapping[Language, Pattern]] = MappingProxyType(
    {
        "en": re.compile(
            r"\b(?:the|this|of|and|with|is|are|on|a|an|where|its|it|which|as|in|for|to|cell|class|result)\b"
        ),
        "tr": re.compile(
            r"\b(?:bu|ve|bir|ile|olarak|için|çok|da|de|ancak|lütfen|hücre\w*|çekirde\w*|üzerinde\w*|sınıf\w*"
            r"|güven\w*|harita\w*|aranır|model\w*|olasılı\w*)\b"
        ),
    }
)

_LETTERS_OF_TURKISH: Final = re.compile("[ğşıİçöüĞŞÇÖÜ]")


def is_written_in(text: str, language: Language) -> bool:
    """Whether the text's function words are those of the language, by three at the least."""
    if language == "en" and _LETTERS_OF_TURKISH.search(text):
        return False
    other: Language = "tr" if language == "en" else "en"
    own = len(_FUNCTION_WORDS[language].findall(fold(text, language)))
    foreign = len(_FUNCTION_WORDS[other].findall(fold(text, language)))
    return own >= 3 and own > 2 * foreign

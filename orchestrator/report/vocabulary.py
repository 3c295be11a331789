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

OTHER_CELLS: Final = _starting(
    r"band\b", r"bands\b", r"stab\b", "granulocyt", "platelet", "thrombocyt", "erythrocyt", r"plasma cell",
    r"red (?:blood )?cell", r"\w*myelocyt", "megakaryocyt", "mast cell", "precursor",
    r"çomak\b", "granülosit", "trombosit", "eritrosit", "alyuvar", "plazma hücre", r"\w*miyelosit",
    "megakaryosit", "öncü hücre",
)  # fmt: skip
"""Cells that are none of the five classes."""

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

CONFIDENCE_WORDS: Final = re.compile(
    r"\b((?:very )?(?:high|low)|moderate|medium)\b(?: \w+)? (?:confidence|certainty)"
    r"|\b((?:çok )?(?:yüksek|düşük)|orta)(?: düzeyde| düzey)?(?: bir)? (?:güven|kesinlik)"
)
"""A confidence in words; its group is the degree."""

CERTAINTY: Final = re.compile(
    r"\b(?:definite\w*|undoubted\w*|doubtless|unquestionabl\w*|certainly|clearly|proves?|proven|confirm\w*"
    r"|trusted|trustworthy|no (?:further )?(?:review|check|doubt)\w*"
    r"|kesinlikle|şüphesiz|kuşkusuz|açıkça|kanıtl\w*|doğrul\w*|gerek yok\w*|gerekmez|gerekmiyor)\b"
)
"""More than a probability can say, or that nobody need look."""

SPOKEN_TO: Final = _starting(
    "instruction", r"ignore\b", "prompt", r"password", "talimat", "yok ?say", "görmezden"
)
"""Words of somebody who speaks to a language model."""

FRACTIONS: Final = _starting(
    r"half\b", r"halves\b", r"thirds?\b", "quarter", "yarısı", "üçte", "dörtte", "çeyre"
)
"""Shares without a figure."""

HEATMAP_STEMS: Final = _starting("heat ?map", "grad-cam", "attention", "activation", "ısı harita", "dikkat")

MOSTLY: Final = _starting(
    "most", "main", "primar", "predominant", "large", "major", "concentrat", "focus", "cent(?:er|re|ring)",
    "chief", "bulk", "büyük", "çoğun", "çoğu", "ağırlık", "yoğunlaş", "başlıca", "esas", "odak", "temel",
)  # fmt: skip

OFF: Final = re.compile(
    r"\b(?:not|never|hardly|barely|scarcely) (?:\w+ )?"
    r"(?:lie|on|over|cover|fall|rest|focus|concentrat|touch|reach)"
    r"|üzerinde (?:değil|bulunmu|yer almı|yoğunlaşmı)"
)
"""That the heatmap is not on what the sentence names."""

DIAGNOSIS: Final = _starting(
    "diagnos", "leuk[ae]*mi", "lymphom", "myelom", "infect", "inflam", "diseas", "disorder", "patient",
    "normal", "abnormal", "patholog", "malign", "cancer", "tumou?r", "allerg", "ana?emi", "health", "benign",
    "suffer", "risk", "syndrom", "symptom", "sepsis", "septic", "viral", "virus", "bacteri", "parasit",
    "fung[ai]", "prognos", "clinical", "immun", "reactive", "toxic", "blast", "immature", "atyp", "deficien",
    "chronic", "acute", "malaria", "dengue", "covid", "tubercul", "mononucleosis", r"\w*dysplas", "marrow",
    "elevat", "increas", "decreas", r"counts?\b", r"left shift", "child", "infant", r"wom[ae]n\b",
    r"female\b", r"male\b", r"years?\b", "donor", r"\w+philia\b", r"\w+cytosis\b", r"\w+penia\b",
    "tanı(?![mn])", "teşhis", "lösemi", "lenfom", "miyelom", "enfeksiyon", "iltihap", "enflam", "hasta",
    "bozukluk", "anormal", "patoloj", "kanser", "tümör", "alerji", "anemi", "sağlık", "iyi huylu",
    "kötü huylu", "sendrom", "semptom", "belirtisi", "belirtiler", "virüs", "bakteri", "parazit", "mantar",
    "sıtma", "verem", r"\w*displazi", "kemik ili", "sola kayma", "artmış", "artış", "azalmış", "sayısı",
    "çocu[kğ]", "bebek", "kadın", r"erkek\b", "yaşında", "klinik", "bağışık",
    "immün", "reaktif", "toksik", "atipik", "olgunlaşmamış", "kronik", "akut",
    r"\w+sitoz\b", r"\w+peni\b",
)  # fmt: skip

TREATMENT: Final = _starting(
    "treat", "therap", "drug", "medicat", "medicine", "dos(?:e|age|ing)", "antibiot", "steroid", "chemo",
    r"tests?\b", r"testing\b", "examin", "investigat", "prescri", "surg", "biops", "transfus", "hospital",
    "consult", "doctor", "physician", "ha?ematologist",
    "tetkik", r"testi?\b", "muayene", "tedavi", "terapi", "ilaç", r"doz\b", "antibiyot",
    "kemoterapi", "ameliyat", "biyopsi", "transfüzyon",
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
        "matur", r"typical\b", "defined", r"hyper\w*", r"hypo\w*", "stain", "olgun", r"tipik\b", "hiper",
        "boyan", r"red\b", "orange", "pink", "blue", "purple", "violet", "azur",
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

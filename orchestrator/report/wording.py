"""The sentences of the rule-based report, one :class:`Wording` per language.

Written so that no word has to be inflected by code: labels and figures stand only where every class and
every number fits as it is (in Turkish, no suffix hangs on either).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from orchestrator.domain import Language
from orchestrator.report.morphology import Region

Confidence = Literal["very high", "high", "moderate", "low"]


@dataclass(frozen=True, slots=True)
class Wording:
    """Templates for :meth:`str.format`, and phrases.

    ``percent`` turns a number with a decimal point into the language's form. ``place`` and ``where`` are
    the two parts of one sentence and get their full stop last.
    """

    percent: Callable[[str], str]
    conjunction: str
    confidence: Mapping[Confidence, str]
    decision: str
    decision_between: str
    decision_with_prior: str
    place: Mapping[Region, str]
    where: str
    place_spread: str
    place_background: str
    place_nowhere: str
    place_unknown: str
    agrees: str
    agrees_with_structures: str
    partly: str
    partly_also: str
    disagrees: str
    second_class: str
    review: str
    review_reasons: Mapping[str, str]
    other_reason: str
    more_reasons: str


REASONS_BY_WEIGHT: Final = (
    "no_cell",
    "out_of_distribution",
    "outside_routed_classes",
    "background_focus",
    "close_call",
    "low_confidence",
    "blurred",
    "too_small",
    "overexposed",
    "underexposed",
)
"""Codes of review reasons, those first that a reader must not miss where there is no room for all."""

_EN: Final = Wording(
    percent=lambda number: f"{number} %",
    conjunction="and",
    confidence={
        "very high": "very high confidence",
        "high": "high confidence",
        "moderate": "moderate confidence",
        "low": "low confidence",
    },
    decision="The model classifies this cell as {label} with {confidence} ({percent}).",
    decision_between=(
        "Deciding only between {first} and {second}, the model chooses {label} with {confidence} ({percent})."
    ),
    decision_with_prior=(
        "Weighed by the class shares of the device profile, this cell is classified as {label} "
        "with {confidence} ({percent})."
    ),
    place={
        "nucleus": (
            "The heatmap lies mostly on the nucleus "
            "({nucleus}; cytoplasm {cytoplasm}, background {background})"
        ),
        "cytoplasm": (
            "The heatmap lies mostly on the cytoplasm "
            "({cytoplasm}; nucleus {nucleus}, background {background})"
        ),
    },
    where=", where one looks for {structures}",
    place_spread=(
        "The heatmap is spread over nucleus ({nucleus}), cytoplasm ({cytoplasm}) "
        "and background ({background})."
    ),
    place_background=(
        "Much of the heatmap lies on the background "
        "({background}; nucleus {nucleus}, cytoplasm {cytoplasm}): "
        "the decision may rest on it and must be checked."
    ),
    place_nowhere="The heatmap is empty and does not show what the decision rests on.",
    place_unknown="As no cell was found, the position of the heatmap cannot be judged.",
    agrees="Its position fits the morphology of this class.",
    agrees_with_structures="Its position fits this class, in which one looks for {structures}.",
    partly="Its position fits this class only in part, as one looks for {structures}.",
    partly_also="Its position fits this class only in part, as one also looks for {structures}.",
    disagrees=("Its position does not fit this class well, as one looks for {structures}; please check."),
    second_class="Second comes {label} ({percent}).",
    review="Please review this result: {reasons}.",
    review_reasons={
        "no_cell": "no cell found",
        "out_of_distribution": "image unlike the training images",
        "outside_routed_classes": "the routing excluded a likely class",
        "background_focus": "attention largely outside the cell",
        "close_call": "two classes close together",
        "low_confidence": "low confidence",
        "blurred": "blurred image",
        "too_small": "image too small",
        "overexposed": "image overexposed",
        "underexposed": "image underexposed",
    },
    other_reason="a further reason given with the result",
    more_reasons="more reasons given with the result",
)

_TR: Final = Wording(
    percent=lambda number: f"%{number.replace('.', ',')}",
    conjunction="ve",
    confidence={
        "very high": "çok yüksek güvenle",
        "high": "yüksek güvenle",
        "moderate": "orta düzeyde güvenle",
        "low": "düşük güvenle",
    },
    decision="Model bu hücreyi {confidence} ({percent}) {label} olarak sınıflandırdı.",
    decision_between=(
        "Yalnızca {first} ile {second} arasında seçim yapan model, bu hücreyi {confidence} ({percent}) "
        "{label} olarak sınıflandırdı."
    ),
    decision_with_prior=(
        "Cihaz profilindeki sınıf oranlarını da hesaba katan model, bu hücreyi {confidence} ({percent}) "
        "{label} olarak sınıflandırdı."
    ),
    place={
        "nucleus": (
            "Isı haritasının büyük bölümü çekirdek üzerindedir "
            "({nucleus}; sitoplazma {cytoplasm}, arka plan {background})"
        ),
        "cytoplasm": (
            "Isı haritasının büyük bölümü sitoplazma üzerindedir "
            "({cytoplasm}; çekirdek {nucleus}, arka plan {background})"
        ),
    },
    where="; burada {structures} aranır",
    place_spread=(
        "Isı haritası çekirdek ({nucleus}), sitoplazma ({cytoplasm}) ve arka plan ({background}) "
        "arasında dağılmıştır."
    ),
    place_background=(
        "Isı haritasının önemli bir bölümü arka plandadır "
        "({background}; çekirdek {nucleus}, sitoplazma {cytoplasm}): "
        "karar arka plana dayanıyor olabilir ve mutlaka kontrol edilmelidir."
    ),
    place_nowhere="Isı haritası boştur ve kararın neye dayandığını göstermez.",
    place_unknown="Hücre bulunamadığı için ısı haritasının konumu değerlendirilemez.",
    agrees="Bu dağılım, sınıfın morfolojisiyle uyumludur.",
    agrees_with_structures="Bu dağılım, sınıfın morfolojisiyle uyumludur: bu sınıf için {structures} aranır.",
    partly="Bu dağılım sınıfla ancak kısmen uyumludur: bu sınıf için {structures} aranır.",
    partly_also="Bu dağılım sınıfla ancak kısmen uyumludur: bu sınıf için ayrıca {structures} aranır.",
    disagrees=(
        "Bu dağılım sınıfla pek uyumlu değildir: bu sınıf için {structures} aranır; lütfen kontrol edin."
    ),
    second_class="İkinci sırada {label} ({percent}) yer alıyor.",
    review="Lütfen bu sonucu gözden geçirin: {reasons}.",
    review_reasons={
        "no_cell": "hücre bulunamadı",
        "out_of_distribution": "görüntü eğitim görüntülerine benzemiyor",
        "outside_routed_classes": "sınıf kısıtlaması olası bir sınıfı dışarıda bıraktı",
        "background_focus": "modelin dikkati büyük ölçüde hücrenin dışında",
        "close_call": "iki sınıf birbirine çok yakın",
        "low_confidence": "güven düşük",
        "blurred": "görüntü bulanık",
        "too_small": "görüntü çok küçük",
        "overexposed": "görüntü aşırı pozlanmış",
        "underexposed": "görüntü yetersiz pozlanmış",
    },
    other_reason="sonuçta belirtilen başka bir neden var",
    more_reasons="sonuçta belirtilen başka nedenler var",
)

WORDING: Final[Mapping[Language, Wording]] = MappingProxyType({"en": _EN, "tr": _TR})

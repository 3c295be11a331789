"""The sentences of the rule-based report, one :class:`Wording` per language.

Written so that no word has to be inflected by code: names of classes and figures stand only where
every one of them fits as it is (in English a name brings its article, in Turkish no suffix hangs on a name or
a figure).
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
    the two parts of one sentence and get their full stop last. ``decision_unsure`` is said of a low
    confidence. ``review_reasons`` and ``next_step`` go by the code of a reason: why a person should look, and
    what that person can do about it. ``suggestion`` is what stands
    alone where the microscope is not verified, and ``review_suggestion`` what stands before reasons there.
    """

    percent: Callable[[str], str]
    conjunction: str
    confidence: Mapping[Confidence, str]
    decision: str
    decision_unsure: str
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
    review_suggestion: str
    review_reasons: Mapping[str, str]
    suggestion: str
    other_reason: str
    more_reasons: str
    next_step: Mapping[str, str]
    other_step: str


REASONS_BY_WEIGHT: Final = (
    "no_cell",
    "uncertain_cell",
    "several_cells",
    "not_wbc",
    "out_of_distribution",
    "outside_routed_classes",
    "background_focus",
    "close_call",
    "low_confidence",
    "blurred",
    "too_small",
    "overexposed",
    "underexposed",
    "not_audited_class",
)
"""Codes of review reasons, those first that a reader must not miss where there is no room for all."""

STEPS_BY_USE: Final = (
    "no_cell",
    "uncertain_cell",
    "several_cells",
    "not_wbc",
    "blurred",
    "too_small",
    "overexposed",
    "underexposed",
    "outside_routed_classes",
    "out_of_distribution",
    "background_focus",
    "close_call",
    "low_confidence",
    "not_audited_class",
)
"""Codes of review reasons, those first whose step comes first: a better image may settle all the others."""

_EN: Final = Wording(
    percent=lambda number: f"{number} %",
    conjunction="and",
    confidence={
        "very high": "very high confidence",
        "high": "high confidence",
        "moderate": "moderate confidence",
        "low": "low confidence",
    },
    decision="The model classifies this cell as {noun} with {confidence} ({percent}).",
    decision_unsure="The model's best guess for this cell is {noun}, with {confidence} ({percent}).",
    decision_between=(
        "Deciding only between {first} and {second}, the model chooses {noun} with {confidence} ({percent})."
    ),
    decision_with_prior=(
        "Weighed by the class shares of the device profile, this cell is classified as {noun} "
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
    agrees="That fits the morphology of this class.",
    agrees_with_structures="That fits this class, in which one looks for {structures}.",
    partly="That fits this class only in part: one looks for {structures}.",
    partly_also="That fits this class only in part: one also looks for {structures}.",
    disagrees="That does not fit this class well: one looks for {structures}.",
    second_class="Next comes {noun} ({percent}).",
    review="Please review this result: {reasons}.",
    review_suggestion="Please review this suggestion (unverified microscope): {reasons}.",
    review_reasons={
        "no_cell": "no cell was found",
        "uncertain_cell": "this may be no white cell",
        "several_cells": "the image is of several white cells",
        "not_wbc": "this may be none of the five classes",
        "out_of_distribution": "the image is unlike the training images",
        "outside_routed_classes": "the routing excluded a likely class",
        "background_focus": "the model looks largely outside the cell",
        "close_call": "two classes are almost equally likely",
        "low_confidence": "the confidence is below its limit",
        "blurred": "the image is blurred",
        "too_small": "the image is too small",
        "overexposed": "the image is overexposed",
        "underexposed": "the image is underexposed",
        "not_audited_class": "the audit releases no such answer",
    },
    suggestion="this is a suggestion, as the microscope is not verified",
    other_reason="the result gives a further reason",
    more_reasons="there are more reasons",
    next_step={
        "no_cell": "Take an image with the whole cell in its centre.",
        "uncertain_cell": "Look whether this is a white cell.",
        "several_cells": "Take an image of each cell.",
        "not_wbc": "Look whether this is a cell of the five classes.",
        "blurred": "Take a sharper image.",
        "too_small": "Take an image at a higher magnification.",
        "overexposed": "Take an image with less light.",
        "underexposed": "Take an image with more light.",
        "outside_routed_classes": "Analyse it without routing, or classify it by eye.",
        "out_of_distribution": "Classify this cell by eye.",
        "background_focus": "Classify this cell by eye.",
        "close_call": "Compare the cell with both classes.",
        "low_confidence": "Classify this cell by eye.",
        "not_audited_class": "Classify this cell by eye.",
    },
    other_step="Read the reasons in the result.",
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
    decision="Model bu hücreyi {confidence} ({percent}) {noun} olarak sınıflandırdı.",
    decision_unsure="Model bu hücreyi {confidence} ({percent}) en çok {noun} sınıfına yakın buldu.",
    decision_between=(
        "Yalnızca {first} ile {second} arasında seçim yapan model, bu hücreyi {confidence} ({percent}) "
        "{noun} olarak sınıflandırdı."
    ),
    decision_with_prior=(
        "Cihaz profilindeki sınıf oranlarını da hesaba katan model, bu hücreyi {confidence} ({percent}) "
        "{noun} olarak sınıflandırdı."
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
    agrees_with_structures="Bu dağılım, sınıfın morfolojisiyle uyumludur: bu sınıfta {structures} aranır.",
    partly="Bu dağılım sınıfla ancak kısmen uyumludur: bu sınıfta {structures} aranır.",
    partly_also="Bu dağılım sınıfla ancak kısmen uyumludur: bu sınıfta ayrıca {structures} aranır.",
    disagrees="Bu dağılım sınıfla pek uyumlu değildir: bu sınıfta {structures} aranır.",
    second_class="İkinci sırada {noun} ({percent}) yer alıyor.",
    review="Lütfen bu sonucu gözden geçirin: {reasons}.",
    review_suggestion="Lütfen bu öneriyi (mikroskop denetlenmedi) gözden geçirin: {reasons}.",
    review_reasons={
        "no_cell": "hücre bulunamadı",
        "uncertain_cell": "bu bir beyaz hücre olmayabilir",
        "several_cells": "görüntü birden çok beyaz hücreye ait",
        "not_wbc": "bu, beş sınıftan hiçbirine girmeyebilir",
        "out_of_distribution": "görüntü eğitim görüntülerine benzemiyor",
        "outside_routed_classes": "sınıf kısıtlaması olası bir sınıfı dışarıda bıraktı",
        "background_focus": "modelin dikkati büyük ölçüde hücrenin dışında",
        "close_call": "iki sınıfın olasılığı birbirine çok yakın",
        "low_confidence": "güven, sınırın altında",
        "blurred": "görüntü bulanık",
        "too_small": "görüntü çok küçük",
        "overexposed": "görüntü aşırı pozlanmış",
        "underexposed": "görüntü yetersiz pozlanmış",
        "not_audited_class": "mikroskobun denetimi böyle bir yanıta onay vermiyor",
    },
    suggestion="mikroskop denetlenmediği için bu bir öneridir",
    other_reason="sonuçta belirtilen başka bir neden var",
    more_reasons="sonuçta belirtilen başka nedenler var",
    next_step={
        "no_cell": "Hücrenin tamamını ortalayarak yeni bir görüntü alın.",
        "uncertain_cell": "Bunun bir beyaz hücre olup olmadığına bakın.",
        "several_cells": "Her hücrenin ayrı bir görüntüsünü alın.",
        "not_wbc": "Hücrenin beş sınıftan birine girip girmediğine bakın.",
        "blurred": "Daha net bir görüntü alın.",
        "too_small": "Daha yüksek büyütmeyle yeni bir görüntü alın.",
        "overexposed": "Daha az ışıkla yeni bir görüntü alın.",
        "underexposed": "Daha çok ışıkla yeni bir görüntü alın.",
        "outside_routed_classes": "Kısıtlama olmadan yeniden analiz edin veya sınıfı gözle belirleyin.",
        "out_of_distribution": "Hücrenin sınıfını gözle belirleyin.",
        "background_focus": "Hücrenin sınıfını gözle belirleyin.",
        "close_call": "Hücreyi her iki sınıfla da karşılaştırın.",
        "low_confidence": "Hücrenin sınıfını gözle belirleyin.",
        "not_audited_class": "Hücrenin sınıfını gözle belirleyin.",
    },
    other_step="Sonuçtaki nedenleri inceleyin.",
)

WORDING: Final[Mapping[Language, Wording]] = MappingProxyType({"en": _EN, "tr": _TR})

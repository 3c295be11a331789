"""The rule-based report: examples word by word, and what must hold for every combination of facts."""

import asyncio
import re
from collections.abc import Iterator
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import (
    DEVICE_UNKNOWN,
    Finding,
    Focus,
    FocusShares,
    Language,
    ReportRequest,
    ReviewReason,
    RoutingMode,
)
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL
from orchestrator.report.base import MAX_WORDS, ReportWriter
from orchestrator.report.morphology import MORPHOLOGY
from orchestrator.report.rule_based_writer import RuleBasedWriter, compose
from orchestrator.report.wording import REASONS_BY_WEIGHT, STEPS_BY_USE, WORDING
from orchestrator.routing import AveragedPrediction, RoutingPolicy, route

LANGUAGES: tuple[Language, ...] = ("en", "tr")
CODES = (*REASONS_BY_WEIGHT, "a_code_from_the_future", DEVICE_UNKNOWN)
FILE_NAME = "patient_smith_042.jpg"

DIAGNOSIS = {
    "en": r"\b(diagnos|leuka?em|infect|inflam|diseas|disorder|patient|normal|abnormal|patholog|malign|cancer"
    r"|tumou?r|allerg|ana?em|health|treat|benign|suffer|risk)",
    "tr": r"\b(tanı|teşhis|lösemi|enfeksiyon|iltihap|hasta|bozukluk|normal|anormal|patoloj|malign|kanser"
    r"|tümör|alerji|anemi|sağlık|tedavi|benign|iyi huylu|kötü huylu|risk)",
}
CLAIM_TO_HAVE_SEEN = {
    "en": r"\b(seen|see|sees|visible|observed|present|contains|has|reveals|detected|displays)\b",
    "tr": r"\b(görülmekte|görülüyor|görünüyor|gözlen|içer|mevcut|izlen|saptan|var\b(?!\.))",
}


def finding(
    class_index: int,
    confidence: float = 0.973,
    codes: tuple[str, ...] = (),
    mode: RoutingMode = "none",
    second: int | None = None,
) -> Finding:
    second = (class_index + 1) % len(CLASS_NAMES) if second is None else second
    probabilities = [0.0] * len(CLASS_NAMES)
    probabilities[class_index], probabilities[second] = confidence, 1 - confidence
    reasons = tuple(ReviewReason(code, f"Something about {FILE_NAME} at 12.34.") for code in codes)
    return Finding(class_index, tuple(probabilities), 0.5, -4.0, 0.0, mode, reasons)


def focus(nucleus: float, cytoplasm: float, background: float, ratio: float | None = None) -> Focus:
    shares = FocusShares(nucleus, cytoplasm, background)
    return Focus(nucleus + cytoplasm if ratio is None else ratio, shares)


FOCUS_SITUATIONS: tuple[Focus | None, ...] = (
    None,
    focus(0.72, 0.2, 0.08),
    focus(0.8, 0.1, 0.1),
    focus(0.25, 0.6, 0.15),
    focus(0.1, 0.8, 0.1),
    focus(0.4, 0.35, 0.25),
    focus(0.15, 0.48, 0.37),
    focus(0.48, 0.15, 0.37),
    focus(0.15, 0.15, 0.7),
    focus(0.0, 0.0, 0.0),
)


def subsets(codes: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Up to four codes and nearly all: of what lies between, a report has room for no more of either."""
    sizes = [size for size in range(len(codes) + 1) if size <= 4 or size >= len(codes) - 1]
    return chain.from_iterable(combinations(codes, size) for size in sizes)


def check(text: str, result: Finding, language: Language) -> None:
    """What holds for every report."""
    assert len(text.split()) <= MAX_WORDS, text
    assert MORPHOLOGY[result.class_name].noun[language] in text
    assert result.class_name.lower() in text or language == "tr"
    number = f"{100 * result.confidence:.1f}"
    assert (f"({number} %)" if language == "en" else f"(%{number.replace('.', ',')})") in text
    assert FILE_NAME not in text
    assert "12.34" not in text
    assert text.endswith(".")


def check_sentence(sentence: str, language: Language) -> None:
    assert not re.search(DIAGNOSIS[language], sentence, re.IGNORECASE), sentence
    assert not re.search(CLAIM_TO_HAVE_SEEN[language], sentence, re.IGNORECASE), sentence
    assert not re.search(r"[{}]|\s\s|\s[.,;:]|[.,;:]{2}|None|nan|\ba [aeio]|\ban [^aeio]", sentence), sentence
    assert sentence[0].isupper()


def sentences_of(text: str) -> list[str]:
    return re.split(r"(?<=\.)\s", text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("class_index", "mode"),
    [
        *((i, "none") for i in range(len(CLASS_NAMES))),
        (LYMPHOCYTE, "main"),
        (NEUTROPHIL, "aux"),
        (CLASS_NAMES.index("Basophil"), "prior"),
    ],
)
def test_every_combination_of_facts_gives_a_short_report_with_class_and_percent(
    class_index: int, mode: RoutingMode, language: Language
) -> None:
    sentences: set[str] = set()
    for codes in subsets(CODES):
        for confidence in (0.973, 0.523) if len(codes) < 4 else (0.973,):
            result = finding(class_index, confidence, codes, mode)
            for situation in FOCUS_SITUATIONS:
                text = compose(result, situation, language)
                check(text, result, language)
                sentences.update(sentences_of(text))
    for sentence in sentences:
        check_sentence(sentence, language)


@st.composite
def focus_maps(draw: st.DrawFn) -> Focus:
    weights = np.array([draw(st.floats(0, 1)) for _ in range(3)])
    nucleus, cytoplasm, background = weights / weights.sum() if weights.sum() > 1e-9 else (0.0, 0.0, 0.0)
    return focus(float(nucleus), float(cytoplasm), float(background), draw(st.floats(0, 1)))


@given(
    st.sampled_from(range(len(CLASS_NAMES))),
    st.floats(0.5, 0.999),
    st.sets(st.sampled_from(CODES)),
    st.sampled_from(["none", "main", "aux", "prior"]),
    focus_maps(),
    st.sampled_from(LANGUAGES),
)
def test_any_figures_give_a_report_within_its_bounds(
    class_index: int,
    confidence: float,
    codes: set[str],
    mode: RoutingMode,
    situation: Focus,
    language: Language,
) -> None:
    result = finding(class_index, confidence, tuple(codes), mode)
    text = compose(result, situation, language)
    check(text, result, language)
    for sentence in sentences_of(text):
        check_sentence(sentence, language)


@given(focus_maps(), st.sampled_from(LANGUAGES))
def test_the_shares_of_the_heatmap_sum_to_one_hundred(situation: Focus, language: Language) -> None:
    result = finding(NEUTROPHIL)
    about_the_heatmap = compose(result, situation, language).removeprefix(compose(result, None, language))
    figures = [int(figure) for figure in re.findall(r"\d+", about_the_heatmap)]
    if situation.shares == FocusShares(0.0, 0.0, 0.0):
        assert figures == []
    else:
        assert len(figures) == 3
        assert sum(figures) == 100


@pytest.mark.parametrize(
    ("result", "situation", "language", "expected"),
    [
        (
            finding(NEUTROPHIL),
            focus(0.72, 0.2, 0.08),
            "en",
            "The model classifies this cell as a neutrophil with very high confidence (97.3 %). "
            "The heatmap lies mostly on the nucleus (72 %; cytoplasm 20 %, background 8 %), "
            "where one looks for three to five lobes joined by thin filaments. "
            "That fits the morphology of this class.",
        ),
        (
            finding(NEUTROPHIL),
            focus(0.72, 0.2, 0.08),
            "tr",
            "Model bu hücreyi çok yüksek güvenle (%97,3) nötrofil olarak sınıflandırdı. "
            "Isı haritasının büyük bölümü çekirdek üzerindedir (%72; sitoplazma %20, arka plan %8); "
            "burada ince kromatin iplikçikleriyle bağlı üç ila beş lob aranır. "
            "Bu dağılım, sınıfın morfolojisiyle uyumludur.",
        ),
        (
            finding(CLASS_NAMES.index("Eosinophil"), 0.88),
            focus(0.8, 0.1, 0.1),
            "en",
            "The model classifies this cell as an eosinophil with high confidence (88.0 %). "
            "The heatmap lies mostly on the nucleus (80 %; cytoplasm 10 %, background 10 %), "
            "where one looks for two lobes. That fits this class only in part: "
            "one also looks for orange-red granules in the cytoplasm. "
            "Next comes a lymphocyte (12.0 %).",
        ),
        (
            finding(LYMPHOCYTE, 0.55, ("close_call", "low_confidence"), "main", second=NEUTROPHIL),
            None,
            "tr",
            "Yalnızca lenfosit ile nötrofil arasında seçim yapan model, bu hücreyi düşük güvenle (%55,0) "
            "lenfosit olarak sınıflandırdı. İkinci sırada nötrofil (%45,0) yer alıyor. "
            "Lütfen bu sonucu gözden geçirin: iki sınıfın olasılığı birbirine çok yakın ve güven, sınırın "
            "altında. Hücreyi her iki sınıfla da karşılaştırın.",
        ),
        (
            finding(NEUTROPHIL, 0.89, ("out_of_distribution",), "prior", second=LYMPHOCYTE),
            None,
            "en",
            "Weighed by the class shares of the device profile, this cell is classified as a neutrophil "
            "with high confidence (89.0 %). Next comes a lymphocyte (11.0 %). Please review this "
            "result: the image is unlike the training images. Classify this cell by eye.",
        ),
        (
            finding(NEUTROPHIL, 0.99, ("out_of_distribution",), "prior"),
            None,
            "tr",
            "Cihaz profilindeki sınıf oranlarını da hesaba katan model, bu hücreyi çok yüksek güvenle "
            "(%99,0) nötrofil olarak sınıflandırdı. "
            "Lütfen bu sonucu gözden geçirin: görüntü eğitim görüntülerine benzemiyor. "
            "Hücrenin sınıfını gözle belirleyin.",
        ),
        (
            finding(CLASS_NAMES.index("Monocyte"), 0.55, ("low_confidence", "blurred", "underexposed")),
            focus(0.35, 0.49, 0.16),
            "en",
            "The model's best guess for this cell is a monocyte, with low confidence (55.0 %). "
            "The heatmap is spread over nucleus (35 %), cytoplasm (49 %) and background (16 %). "
            "That fits this class only in part: one looks for a kidney-shaped nucleus. "
            "Next comes a neutrophil (45.0 %). "
            "Please review this result: the confidence is below its limit, the image is blurred and the "
            "image is underexposed. Take a sharper image.",
        ),
        (
            finding(CLASS_NAMES.index("Monocyte"), 0.55, ("low_confidence",)),
            None,
            "tr",
            "Model bu hücreyi düşük güvenle (%55,0) en çok monosit sınıfına yakın buldu. "
            "İkinci sırada nötrofil (%45,0) yer alıyor. "
            "Lütfen bu sonucu gözden geçirin: güven, sınırın altında. Hücrenin sınıfını gözle belirleyin.",
        ),
        (
            finding(CLASS_NAMES.index("Monocyte"), 0.7, ("blurred",)),
            focus(0.15, 0.15, 0.7),
            "en",
            "The model classifies this cell as a monocyte with moderate confidence (70.0 %). "
            "Much of the heatmap lies on the background (70 %; nucleus 15 %, cytoplasm 15 %): "
            "the decision may rest on it and must be checked. Next comes a neutrophil (30.0 %). "
            "Please review this result: the image is blurred. Take a sharper image.",
        ),
    ],
)
def test_examples_read_as_written(
    result: Finding, situation: Focus | None, language: Language, expected: str
) -> None:
    assert compose(result, situation, language) == expected


@pytest.mark.parametrize(("language", "word"), [("en", "heatmap"), ("tr", "haritası")])
def test_without_a_focus_map_nothing_is_said_about_the_heatmap(language: Language, word: str) -> None:
    for codes in subsets(CODES):
        assert word not in compose(finding(NEUTROPHIL, codes=codes), None, language)


@pytest.mark.parametrize(("language", "phrase"), [("en", "must be checked"), ("tr", "kontrol edilmelidir")])
@pytest.mark.parametrize("class_index", range(len(CLASS_NAMES)))
def test_under_the_least_focus_ratio_the_decision_must_be_checked(
    class_index: int, language: Language, phrase: str
) -> None:
    assert phrase in compose(finding(class_index), focus(0.3, 0.24, 0.46), language)
    assert phrase not in compose(finding(class_index), focus(0.3, 0.26, 0.44), language)


@pytest.mark.parametrize(("language", "phrase"), [("en", "cannot be judged"), ("tr", "değerlendirilemez")])
def test_where_no_cell_was_found_the_heatmap_is_not_judged(language: Language, phrase: str) -> None:
    text = compose(finding(NEUTROPHIL, codes=("no_cell",)), focus(0.0, 0.7, 0.3), language)
    assert phrase in text
    assert "70" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", REASONS_BY_WEIGHT)
def test_each_known_reason_has_its_own_phrase_and_a_step(code: str, language: Language) -> None:
    text = compose(finding(NEUTROPHIL, codes=(code,)), None, language)
    wording = WORDING[language]
    assert text.endswith(f" {wording.review_reasons[code]}. {wording.next_step[code]}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_better_image_is_asked_for_before_anything_else_is(language: Language) -> None:
    wording = WORDING[language]
    doubtful = ("low_confidence", "out_of_distribution", "close_call")
    assert wording.next_step["blurred"] in compose(
        finding(NEUTROPHIL, codes=(*doubtful, "blurred")), None, language
    )
    text = compose(finding(NEUTROPHIL, codes=doubtful), None, language)
    assert text.endswith(wording.next_step["out_of_distribution"])
    unknown = compose(finding(NEUTROPHIL, codes=("new_code",)), None, language)
    assert unknown.endswith(wording.other_step)


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_know_the_same_reasons(language: Language) -> None:
    assert set(WORDING[language].review_reasons) == set(REASONS_BY_WEIGHT)
    assert set(WORDING[language].next_step) == set(REASONS_BY_WEIGHT) == set(STEPS_BY_USE)
    assert len(set(WORDING[language].review_reasons.values())) == len(REASONS_BY_WEIGHT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_unknown_reasons_fall_back_to_one_general_phrase(language: Language) -> None:
    text = compose(finding(NEUTROPHIL, codes=("new_code", "newer_code")), None, language)
    assert text.count(WORDING[language].other_reason) == 1
    assert "new" not in text.replace(WORDING[language].other_reason, "")


@pytest.mark.parametrize("mode", ["none", "main", "aux", "prior"])
def test_every_reason_that_routing_gives_has_a_phrase(mode: RoutingMode) -> None:
    shares = (0.2,) * 5 if mode == "prior" else None
    policy = RoutingPolicy(
        mode, review_threshold=1.0, review_margin=1.0, max_energy=-2.0, prior=shares, training_prior=shares
    )
    result = route(
        AveragedPrediction((0.3, 0.25, 0.15, 0.2, 0.1), 0.55, -1.0, 0.0, np.zeros(1, np.float32)), policy
    )
    assert len(result.review_reasons) >= 3
    assert {reason.code for reason in result.review_reasons} <= set(REASONS_BY_WEIGHT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_that_it_is_a_suggestion_is_said_once_whatever_else_there_is_to_say(language: Language) -> None:
    said = ("suggestion", "microscope") if language == "en" else ("öneri", "mikroskop")
    for others in subsets(CODES[:-1]):
        plain, suggested = (
            compose(finding(NEUTROPHIL, codes=codes), focus(0.15, 0.48, 0.37), language)
            for codes in (others, (*others, DEVICE_UNKNOWN))
        )
        for word in said:
            assert suggested.lower().count(word) == 1
            assert word not in plain.lower()


def test_on_an_unverified_microscope_a_result_without_another_reason_ends_with_that() -> None:
    text = compose(finding(NEUTROPHIL, codes=(DEVICE_UNKNOWN,)), None, "en")
    assert text.endswith(" This is a suggestion, as the microscope is not verified.")
    assert "review" not in text


def test_on_an_unverified_microscope_one_is_asked_to_review_a_suggestion() -> None:
    text = compose(finding(NEUTROPHIL, codes=("blurred", DEVICE_UNKNOWN)), None, "en")
    asked = (
        "Please review this suggestion (unverified microscope): the image is blurred. Take a sharper image."
    )
    assert text.endswith(asked)


def test_where_reasons_do_not_fit_the_weightiest_stay_and_the_rest_is_announced() -> None:
    codes = tuple(code for code in CODES if code != "no_cell")
    text = compose(finding(NEUTROPHIL, 0.55, codes, "main", second=LYMPHOCYTE), focus(0.1, 0.8, 0.1), "en")
    assert "this may be no white cell and there are more reasons." in text
    assert "underexposed" not in text


def test_a_sure_result_names_no_second_class_and_asks_for_no_review() -> None:
    text = compose(finding(NEUTROPHIL, 0.95, second=LYMPHOCYTE), None, "en")
    assert text == "The model classifies this cell as a neutrophil with very high confidence (95.0 %)."


def test_a_second_class_from_one_tenth_on_is_named_without_any_review_reason() -> None:
    assert "a lymphocyte (11.0 %)" in compose(finding(NEUTROPHIL, 0.89, second=LYMPHOCYTE), None, "en")


def test_a_second_class_of_no_probability_is_not_named_even_in_doubt() -> None:
    assert "Next" not in compose(finding(NEUTROPHIL, 1.0, ("low_confidence",)), None, "en")


@pytest.mark.parametrize(
    ("confidence", "figure"), [(0.9996, "99.9 %"), (1.0, "100.0 %"), (0.97349, "97.3 %"), (0.9735, "97.4 %")]
)
def test_what_is_not_certain_never_reads_as_one_hundred_percent(confidence: float, figure: str) -> None:
    assert f"({figure})" in compose(finding(NEUTROPHIL, confidence), None, "en")


@pytest.mark.parametrize(
    ("confidence", "en", "tr"),
    [
        (0.95, "very high", "çok yüksek"),
        (0.9499, "high", "yüksek"),
        (0.85, "high", "yüksek"),
        (0.8499, "moderate", "orta düzeyde"),
        (0.6, "moderate", "orta düzeyde"),
        (0.5999, "low", "düşük"),
        (0.0, "low", "düşük"),
    ],
)
def test_confidence_is_put_into_words(confidence: float, en: str, tr: str) -> None:
    assert f" with {en} confidence (" in compose(finding(NEUTROPHIL, confidence), None, "en")
    assert f"Model bu hücreyi {tr} güvenle (" in compose(finding(NEUTROPHIL, confidence), None, "tr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_number_formats_follow_the_language(language: Language) -> None:
    text = compose(finding(NEUTROPHIL, 0.55, ("close_call",)), focus(0.72, 0.2, 0.08), language)
    wrong = r"%\d|\d,\d" if language == "en" else r"\d ?%|\d\.\d"
    assert re.search(r"\d", text)
    assert not re.search(wrong, text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_writer_signs_its_report_in_the_language_asked_for(language: Language) -> None:
    writer: ReportWriter = RuleBasedWriter()
    request = ReportRequest(finding(NEUTROPHIL), focus(0.72, 0.2, 0.08), language)
    report = asyncio.run(writer.write(request))
    assert (report.writer, report.language) == (writer.name, language) == ("rule-based", language)
    assert report.text == compose(request.finding, request.focus, language)

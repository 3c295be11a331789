"""The shortcut guard: heatmaps planted on the background, the nucleus and the border of painted cells."""

import numpy as np
import pytest

from orchestrator.domain import Float32Array, Focus, FocusJudgement
from orchestrator.model_contract import CLASS_NAMES, NEUTROPHIL
from orchestrator.report.focus_verdict import SOUND_FOCUS_RATIO, judge_focus
from orchestrator.vision.heatmap import assemble
from orchestrator.vision.preprocessing import PreprocessedCell, Recipe, preprocess
from tests.report_requests import finding, focus
from tests.synthetic_cells import synthetic_cell

SIZE = 300


def codes(verdict) -> set[str]:
    return {reason.code for reason in verdict.reasons}


@pytest.fixture(scope="module", params=["Neutrophil", "Lymphocyte", "Eosinophil"])
def painted(request: pytest.FixtureRequest) -> tuple[str, PreprocessedCell]:
    cell = preprocess(synthetic_cell(request.param, 3, SIZE), Recipe())
    assert cell.cell is not None
    return request.param, cell


def planted(cell: PreprocessedCell, cam: Float32Array) -> Focus:
    """The heatmap of a network whose class activation map is ``cam``, as serving makes it."""
    return assemble(cam[np.newaxis], "none", cell.masks, cell.window, (SIZE, SIZE, 3))


def tiles_of(mask: Float32Array) -> Float32Array:
    side = mask.shape[0] // 7
    return mask[: 7 * side, : 7 * side].reshape(7, side, 7, side).mean(axis=(1, 3))


def test_a_heatmap_on_the_background_is_told(painted) -> None:
    name, cell = painted
    background = (tiles_of(1 - cell.masks.cell) > 0.9).astype(np.float32)
    verdict = judge_focus(finding(CLASS_NAMES.index(name)), planted(cell, background))
    assert verdict.judgement == "background"
    assert codes(verdict) == {"off_cell"}


def test_a_heatmap_along_the_border_is_told(painted) -> None:
    name, cell = painted
    border = np.zeros((7, 7), np.float32)
    border[[0, -1]] = border[:, [0, -1]] = 1
    assert judge_focus(finding(CLASS_NAMES.index(name)), planted(cell, border)).judgement == "background"


@pytest.mark.parametrize("corner", [(0, 0), (0, 6), (6, 0), (6, 6)])
def test_a_heatmap_in_any_corner_is_told(painted, corner) -> None:
    name, cell = painted
    cam = np.zeros((7, 7), np.float32)
    cam[corner] = 1
    assert judge_focus(finding(CLASS_NAMES.index(name)), planted(cell, cam)).judgement == "background"


def test_a_heatmap_on_the_nucleus_is_sound(painted) -> None:
    name, cell = painted
    nucleus = tiles_of(cell.masks.nucleus.astype(np.float32))
    verdict = judge_focus(finding(CLASS_NAMES.index(name)), planted(cell, nucleus**4))
    assert verdict.judgement == "sound"
    assert "on_cell" in codes(verdict)


@pytest.mark.parametrize(
    ("where", "judgement", "code"),
    [
        (focus(0.72, 0.2, 0.08), "sound", "where_recognised"),
        (focus(0.3, 0.6, 0.1), "sound", "partly_where_recognised"),
        (focus(0.1, 0.8, 0.1), "doubtful", "elsewhere"),
        (focus(0.6, SOUND_FOCUS_RATIO - 0.601, 0.401 - 0.18), "doubtful", "partly_off_cell"),
        (focus(0.4, 0.149, 0.451), "background", "off_cell"),
        (focus(0.0, 0.0, 0.0), "doubtful", "empty_heatmap"),
    ],
)
def test_ratio_and_shares_decide_together(where: Focus, judgement: FocusJudgement, code: str) -> None:
    verdict = judge_focus(finding(NEUTROPHIL), where)
    assert verdict.judgement == judgement
    assert code in codes(verdict)


def test_where_no_cell_was_found_nothing_is_sound() -> None:
    verdict = judge_focus(finding(NEUTROPHIL, codes=("no_cell",)), focus(0.72, 0.2, 0.08))
    assert (verdict.judgement, codes(verdict)) == ("doubtful", {"no_cell"})


@pytest.mark.parametrize(
    ("where", "opinion", "judgement"),
    [
        (focus(0.72, 0.2, 0.08), None, "sound"),
        (focus(0.72, 0.2, 0.08), "sound", "sound"),
        (focus(0.72, 0.2, 0.08), "doubtful", "doubtful"),
        (focus(0.72, 0.2, 0.08), "background", "doubtful"),
        (focus(0.1, 0.8, 0.1), "sound", "doubtful"),
        (focus(0.3, 0.1, 0.6), "sound", "background"),
    ],
)
def test_a_writer_can_raise_a_doubt_and_never_take_one_away(
    where: Focus, opinion: FocusJudgement | None, judgement: FocusJudgement
) -> None:
    verdict = judge_focus(finding(NEUTROPHIL), where, opinion)
    assert verdict.judgement == judgement
    if opinion not in (None, "sound"):
        assert "writer_doubts" in codes(verdict)


def test_only_the_gravest_grounds_are_reasons() -> None:
    assert codes(judge_focus(finding(NEUTROPHIL), focus(0.05, 0.3, 0.65))) == {"off_cell"}


def test_reasons_are_sentences() -> None:
    verdict = judge_focus(finding(CLASS_NAMES.index("Eosinophil")), focus(0.45, 0.45, 0.1))
    assert [reason.message for reason in verdict.reasons] == [
        "90% of the heatmap lies on the cell.",
        "It lies where an eosinophil is recognised.",
    ]

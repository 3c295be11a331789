"""What a model may declare, and what breaks the contract."""

import pytest

from orchestrator.model_contract import (
    CONV_MAPS,
    FEATURES,
    HEAD,
    LARGEST_UNKNOWN,
    MAIN_OUT,
    SIGNATURES,
    UNKNOWN,
    admitted,
)


@pytest.mark.parametrize("width", [1024, 1280, None])
def test_convolution_maps_may_have_any_width(width):
    assert CONV_MAPS.admits("float32", (None, 7, 7, width))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("float16", (None, 5)),
        ("float32", (None, 4)),
        ("float32", (None, None)),
        ("float32", (1, 5)),
        ("float32", (None, 5, 1)),
        ("float32", None),
    ],
)
def test_another_dtype_rank_size_or_a_fixed_batch_is_not_admitted(dtype, shape):
    assert MAIN_OUT.admits("float32", (None, 5))
    assert not MAIN_OUT.admits(dtype, shape)


def test_a_model_declares_all_tensors_of_a_signature_and_no_other():
    declared = {spec.name: (spec.dtype, spec.shape) for spec in SIGNATURES["classify"].outputs}

    assert admitted(SIGNATURES["classify"].outputs, declared)
    assert not admitted(SIGNATURES["classify"].outputs, {**declared, "more": ("float32", (None, 1))})
    assert not admitted(SIGNATURES["classify"].outputs, {MAIN_OUT.name: declared[MAIN_OUT.name]})


@pytest.mark.parametrize("width", [256, 1280])
def test_features_and_a_head_may_have_any_width_and_five_classes(width):
    assert FEATURES.admits("float32", (None, width))
    assert HEAD.admits("float32", (None, width + 1, 5))
    assert not HEAD.admits("float32", (None, width + 1, 4))


def test_the_views_of_an_image_answer_in_eight_places():
    shapes = {spec.name: spec.shape for spec in SIGNATURES["views"].outputs}

    assert shapes["main_out"] == (None, 8, 5)
    assert shapes["cams"] == (None, 8, 5, 7, 7)
    assert shapes.keys() == {spec.name for spec in SIGNATURES["serving_default"].outputs}


def test_what_says_unknown_counts_as_unknown():
    assert UNKNOWN <= LARGEST_UNKNOWN

"""What a model may declare, and what breaks the contract."""

import pytest

from orchestrator.model_contract import CONV_MAPS, MAIN_OUT, SIGNATURES, admitted


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
    declared = {spec.name: (spec.dtype, spec.shape) for spec in SIGNATURES["classify"]}

    assert admitted(SIGNATURES["classify"], declared)
    assert not admitted(SIGNATURES["classify"], {**declared, "more": ("float32", (None, 1))})
    assert not admitted(SIGNATURES["classify"], {MAIN_OUT.name: declared[MAIN_OUT.name]})

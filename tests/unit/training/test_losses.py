import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from training.losses import WBCFocalLoss, main_loss, smoothed_crossentropy


def softmax_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=(count, 5)) * 2.0
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def value(loss: keras.losses.Loss, labels: NDArray[np.float32], predictions: NDArray[np.float32]) -> float:
    return float(loss(labels, predictions))


def test_focal_loss_follows_its_formula_at_the_reference_defaults() -> None:
    predictions = softmax_rows(10)
    classes = np.arange(10) % 5
    labels = np.eye(5, dtype=np.float32)[classes]

    weights = np.array([2.0, 1.2, 1.0, 1.3, 1.0])
    smoothed = labels * 0.9 + 0.1 / 5
    true_probability = predictions[np.arange(10), classes]
    expected = (
        -0.25
        * weights[classes]
        * (1.0 - true_probability) ** 2
        * (smoothed * np.log(predictions)).sum(axis=1)
    )

    np.testing.assert_allclose(np.asarray(WBCFocalLoss().call(labels, predictions)), expected, rtol=1e-5)
    assert value(WBCFocalLoss(), labels, predictions) == pytest.approx(expected.mean(), rel=1e-5)


def test_focal_loss_without_focus_weights_and_smoothing_is_scaled_crossentropy() -> None:
    predictions = softmax_rows(7)
    labels = np.eye(5, dtype=np.float32)[np.arange(7) % 5]
    focal = WBCFocalLoss(class_weights=(1.0,) * 5, alpha=1.0, gamma=0.0, label_smoothing=0.0)

    crossentropy = keras.losses.CategoricalCrossentropy()

    assert value(focal, labels, predictions) == pytest.approx(
        value(crossentropy, labels, predictions), rel=1e-5
    )


def test_focal_loss_is_finite_for_saturated_predictions() -> None:
    labels = np.eye(5, dtype=np.float32)

    certain_and_wrong = np.roll(labels, 1, axis=1)

    assert np.isfinite(np.asarray(WBCFocalLoss().call(labels, certain_and_wrong))).all()
    assert np.isfinite(np.asarray(WBCFocalLoss(gamma=0.5).call(labels, labels))).all()


def test_focal_loss_refuses_another_number_of_classes() -> None:
    with pytest.raises(ValueError, match=r"expected 3 classes .* got 5"):
        WBCFocalLoss(class_weights=(1.0, 1.0, 1.0))(np.eye(5), softmax_rows(5))


@pytest.mark.parametrize("weights", [(), (1.0, 0.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0, 1.0, 1.0)])
def test_focal_loss_refuses_class_weights_that_are_not_positive(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive class weights"):
        WBCFocalLoss(class_weights=weights)


def test_focal_loss_refuses_smoothing_of_one() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\), got 1.0"):
        WBCFocalLoss(label_smoothing=1.0)


def test_focal_loss_survives_serialisation() -> None:
    predictions, labels = softmax_rows(5), np.eye(5, dtype=np.float32)
    loss = WBCFocalLoss(class_weights=(1.2, 1.1, 1.0, 1.1, 1.15), alpha=0.4, gamma=1.5, label_smoothing=0.05)

    restored = keras.losses.deserialize(keras.losses.serialize(loss))

    assert isinstance(restored, WBCFocalLoss)
    assert value(restored, labels, predictions) == pytest.approx(value(loss, labels, predictions))


@pytest.mark.parametrize(("asked", "used"), [(-0.5, 0.0), (0.0, 0.0), (0.1, 0.1), (0.3, 0.3), (0.9, 0.3)])
def test_label_smoothing_is_clipped(asked: float, used: float) -> None:
    predictions, labels = softmax_rows(5), np.eye(5, dtype=np.float32)

    expected = value(keras.losses.CategoricalCrossentropy(label_smoothing=used), labels, predictions)

    assert value(smoothed_crossentropy(asked), labels, predictions) == pytest.approx(expected)


def test_main_loss_is_chosen_by_name() -> None:
    assert isinstance(main_loss("cce"), keras.losses.CategoricalCrossentropy)
    focal = main_loss("focal", label_smoothing=0.9, class_weights=(1.2, 1.1, 1.0, 1.1, 1.15))
    assert isinstance(focal, WBCFocalLoss)
    assert focal.label_smoothing == pytest.approx(0.3)
    assert focal.class_weights == (1.2, 1.1, 1.0, 1.1, 1.15)
    with pytest.raises(ValueError, match="'cce' or 'focal', got 'hinge'"):
        main_loss("hinge")  # type: ignore[arg-type]

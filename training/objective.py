"""What a run minimises, and with which optimizer."""

import keras

from orchestrator.model_contract import AUX_OUT, MAIN_OUT, NOT_WBC
from training.classifier import ATTENTION_LAYER, BACKBONE_LAYER
from training.efficientnet_lite import block_of
from training.losses import main_loss
from training.run_config import Phase, TrainingConfig


def compile_for(model: keras.Model, config: TrainingConfig, phase: Phase) -> None:
    """Freeze or thaw the backbone and compile with the losses and the optimizer of a phase."""
    freeze(model, config, phase)
    losses = {MAIN_OUT.name: main_loss_of(config), AUX_OUT.name: keras.losses.BinaryCrossentropy()}
    weights = {MAIN_OUT.name: 1.0, AUX_OUT.name: config.aux_loss_weight if config.aux_head else 0.0}
    if config.not_wbc_loss_weight:
        losses[NOT_WBC.name] = keras.losses.BinaryCrossentropy()
        weights[NOT_WBC.name] = config.not_wbc_loss_weight
    if config.attention_loss_weight:
        losses[ATTENTION_LAYER] = keras.losses.BinaryCrossentropy()
        weights[ATTENTION_LAYER] = config.attention_loss_weight
    model.compile(
        optimizer=keras.optimizers.AdamW(
            phase.learning_rate,
            weight_decay=config.weight_decay,
            global_clipnorm=config.clip_norm or None,
            use_ema=config.ema_momentum > 0,
            ema_momentum=config.ema_momentum,
        ),
        loss=losses,
        loss_weights=weights,
        weighted_metrics={MAIN_OUT.name: [keras.metrics.CategoricalAccuracy(name="accuracy")]},
        # XLA on the CPU made a DenseNet121 step take 85 ms an image where plain TensorFlow took 54.
        jit_compile="auto" if _has_accelerator() or keras.config.backend() == "jax" else False,
    )


def freeze(model: keras.Model, config: TrainingConfig, phase: Phase) -> None:
    """Let those weights be trained that a phase trains, and no others."""
    backbone = model.get_layer(BACKBONE_LAYER)
    backbone.trainable = phase.train_backbone
    if phase.train_backbone and config.frozen_blocks:
        for layer in backbone.layers:
            layer.trainable = block_of(layer.name) >= config.frozen_blocks and not isinstance(
                layer, keras.layers.BatchNormalization
            )
    model.get_layer(NOT_WBC.name).trainable = config.not_wbc_loss_weight > 0


def main_loss_of(config: TrainingConfig) -> keras.losses.Loss:
    """The loss of the main head that the run asks for."""
    return main_loss(config.main_loss, config.label_smoothing, config.focal_class_weights)


def _has_accelerator() -> bool:
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())

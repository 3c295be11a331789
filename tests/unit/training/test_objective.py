"""What is learned from labels whose target for ``not_wbc`` has a weight in the loss, or none."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.fakes.tiny_training import tiny_classifier, tiny_config
from training.objective import compile_for


class OneBatch(keras.utils.PyDataset):
    def __init__(self) -> None:
        super().__init__(workers=1)
        self.labels: dict[str, Any] = {
            "main_out": np.eye(5, dtype=np.float32),
            "aux_binary_out": np.ones((5, 1), np.float32),
            "not_wbc": np.zeros((5, 1), np.float32),
        }

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> Any:
        images = np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)
        return images, self.labels, {name: np.ones(5, np.float32) for name in self.labels}


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_not_wbc_is_learned_exactly_where_its_loss_has_a_weight(tmp_path: Path, weight: float) -> None:
    config = tiny_config(tmp_path, tmp_path, not_wbc_loss_weight=weight)
    model = tiny_classifier()
    compile_for(model, config, config.phases()[-1])
    before = model.get_layer("not_wbc").get_weights()[0]

    history = model.fit(OneBatch(), shuffle=False, verbose=0).history

    assert ("not_wbc_loss" in history) == (weight > 0)
    assert np.array_equal(model.get_layer("not_wbc").get_weights()[0], before) == (weight == 0)

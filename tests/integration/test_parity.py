"""The committed model answers in this process (OpenVINO) as it does in TensorFlow."""

import numpy as np

from orchestrator.domain import CellViews
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.routing import energy
from orchestrator.views import rows_of
from orchestrator.vision.preprocessing import preprocess
from training.datasets import read_split
from training.evaluate import chosen_profile, saved_model_predictor


async def test_on_every_image_of_testa_the_class_is_the_same_and_probabilities_within_2_percent(
    wbc_data, project_root
):
    recipe = chosen_profile("default").recipe
    repository = project_root / "model_repository" / "wbc"
    (version,) = repository.iterdir()
    in_tensorflow = saved_model_predictor(version)
    embedded = EmbeddedModelServer(repository, version=int(version.name))
    await embedded.start()
    worst = drift = 0.0
    try:
        for sample in read_split(wbc_data, "TestA"):
            views = rows_of(CellViews(preprocess(sample.load(), recipe).pixels, (0,)))
            expected, answered = in_tensorflow(views), await embedded.classify(views)

            assert expected.main_out.argmax() == answered.main_out.argmax(), sample.path.name
            worst = max(worst, float(np.abs(expected.main_out - answered.main_out).max()))
            worst = max(worst, float(np.abs(expected.aux_out - answered.aux_out).max()))
            drift = max(drift, float(np.abs(energy(expected.logits) - energy(answered.logits)).max()))
    finally:
        await embedded.close()

    assert worst <= 0.02
    assert drift <= 0.02  # of an energy whose limit lies among values that are apart by 1 and more

"""What a model server might have answered, for tests of what is made of it."""

import numpy as np

from orchestrator.domain import Float32Array, ModelIdentity, Prediction

MODEL = ModelIdentity("wbc", 1, None)


def predicted(
    main_out: Float32Array,
    aux_out: Float32Array,
    logits: Float32Array,
    cams: Float32Array | None = None,
    model: ModelIdentity = MODEL,
    features: Float32Array | None = None,
) -> Prediction:
    """A white cell to be sure, of two features where none are given."""
    rows = len(main_out)
    nothing = np.zeros(rows, np.float32)
    if features is None:
        features = np.zeros((rows, 2), np.float32)
    return Prediction(main_out, aux_out, logits, nothing, features, cams, model)

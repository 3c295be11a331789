import asyncio
import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from orchestrator.domain import ViewBatch
from orchestrator.errors import ConfigurationError, ContractViolation, ModelServerUnavailable
from orchestrator.model_contract import SIGNATURES
from orchestrator.model_server.embedded import BATCH_ROWS, EmbeddedModelServer, find_version
from orchestrator.model_server.fingerprint import model_sha256
from orchestrator.model_server.openvino_network import OpenVinoNetwork
from tests.export_fixture import ExportedModel
from tests.random_images import varied_images
from training.classifier import with_served_outputs
from training.gradcam import autodiff_class_activation_maps


def views_of(rows: int, seed: int = 0) -> ViewBatch:
    return ViewBatch(varied_images(rows, 224, seed), np.ones(rows, dtype=np.float32))


class Notes:
    def __init__(self) -> None:
        self.executed: list[int] = []
        self.depths: list[int] = []

    def batch_executed(self, rows: int, seconds: float) -> None:
        assert seconds > 0
        self.executed.append(rows)

    def queue_depth(self, rows: int) -> None:
        self.depths.append(rows)


async def test_answers_and_explains_as_keras_does(exported_model: ExportedModel) -> None:
    images = varied_images(9, 224, seed=7)
    gain = np.array([1.0, 1.1, 0.9] * 3, dtype=np.float32)
    pixels = np.clip(images / np.float32(255.0) * gain[:, None, None, None], 0.0, 1.0)
    expected = {
        name: np.asarray(value) for name, value in with_served_outputs(exported_model.model)(pixels).items()
    }
    cams = autodiff_class_activation_maps(exported_model.model, expected["conv_maps"])

    server = EmbeddedModelServer(exported_model.model_dir, threads=2)
    await server.start()
    prediction = await server.explain(ViewBatch(images, gain))
    await server.close()

    np.testing.assert_allclose(prediction.main_out, expected["main_out"], atol=1e-3)
    np.testing.assert_allclose(prediction.aux_out, expected["aux_binary_out"][:, 0], atol=1e-3)
    np.testing.assert_allclose(
        prediction.logits, expected["logits"], atol=1e-3 * np.abs(expected["logits"]).max()
    )
    assert prediction.cams is not None
    # Guiding has kinks: a gradient that rounding moves across zero counts or does not.
    np.testing.assert_allclose(prediction.cams, cams, atol=1e-2 * cams.max())


async def test_concurrent_requests_go_through_the_network_together(
    small_exported_model: ExportedModel,
) -> None:
    notes = Notes()
    server = EmbeddedModelServer(small_exported_model.model_dir, threads=2, observer=notes)
    await server.start()
    requests = [views_of(BATCH_ROWS // 2, seed) for seed in range(4)]

    answers = await asyncio.gather(*(server.classify(views) for views in requests))

    assert notes.executed == [BATCH_ROWS, BATCH_ROWS]  # one for each stream
    assert notes.depths[-1] == 0
    for views, answer in zip(requests, answers, strict=True):
        alone = await server.classify(views)
        np.testing.assert_allclose(answer.main_out, alone.main_out, atol=1e-5)
    await server.close()


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 32])
async def test_spreading_rows_over_streams_changes_no_answer(
    small_exported_model: ExportedModel, rows: int
) -> None:
    views = views_of(rows)
    answers = []
    for threads in (1, 3):
        server = EmbeddedModelServer(small_exported_model.model_dir, threads=threads)
        await server.start()
        answers.append(await server.explain(views))
        await server.close()

    one, three = answers
    np.testing.assert_allclose(one.main_out, three.main_out, atol=1e-5)
    assert one.cams is not None
    assert three.cams is not None
    np.testing.assert_allclose(one.cams, three.cams, atol=1e-4 * one.cams.max())


async def test_tells_version_and_hash_of_what_it_serves(small_exported_model: ExportedModel) -> None:
    server = EmbeddedModelServer(small_exported_model.model_dir, threads=1)
    await server.start()

    identity = await server.identity()
    await server.close()

    assert (identity.name, identity.version) == ("wbc", 1)
    assert identity.sha256 == model_sha256(small_exported_model.version_dir)


async def test_a_second_start_from_the_cache_answers_alike(
    small_exported_model: ExportedModel, tmp_path: Path
) -> None:
    views = views_of(2)
    answers = []
    for _ in range(2):
        server = EmbeddedModelServer(small_exported_model.model_dir, threads=1, cache_dir=tmp_path)
        await server.start()
        answers.append(await server.explain(views))
        await server.close()

    # Under the hash of the model, so that another model of the same version cannot be mistaken for it.
    assert [path.name for path in tmp_path.iterdir()] == [model_sha256(small_exported_model.version_dir)]
    assert len(list(tmp_path.rglob("*.blob"))) == 1
    np.testing.assert_array_equal(answers[0].main_out, answers[1].main_out)


async def test_a_cache_that_cannot_be_written_is_named(
    small_exported_model: ExportedModel, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server = EmbeddedModelServer(small_exported_model.model_dir, threads=1, cache_dir=tmp_path / "file")
    with pytest.raises(ConfigurationError, match="WBC_EMBEDDED__CACHE_DIR"):
        await server.start()


async def test_says_in_the_log_when_the_cpu_lacks_the_precision(
    small_exported_model: ExportedModel, caplog: pytest.LogCaptureFixture
) -> None:
    import openvino as ov

    has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    server = EmbeddedModelServer(small_exported_model.model_dir, threads=1, precision="bf16")
    with caplog.at_level(logging.WARNING):
        await server.start()
    prediction = await server.classify(views_of(2))
    await server.close()

    np.testing.assert_allclose(prediction.main_out.sum(axis=1), 1.0, atol=1e-2)
    assert ("this CPU does not compute in bf16" in caplog.text) is not has_bf16


class TestFindVersion:
    @pytest.fixture
    def model_dir(self, tmp_path: Path) -> Path:
        for name in ("1", "2", "10", "11.partial", "notes"):
            (tmp_path / name).mkdir()
        (tmp_path / "12").write_text("a file")
        return tmp_path

    def test_is_the_highest_number(self, model_dir: Path) -> None:
        assert find_version(model_dir).name == "10"

    def test_may_be_pinned(self, model_dir: Path) -> None:
        assert find_version(model_dir, 2).name == "2"

    def test_names_what_there_is_where_the_pinned_one_is_missing(self, model_dir: Path) -> None:
        with pytest.raises(ModelServerUnavailable, match=r"expected version 3 of wbc .* found 1, 2, 10"):
            find_version(model_dir, 3)

    def test_an_empty_or_missing_repository_has_none(self, tmp_path: Path) -> None:
        with pytest.raises(ModelServerUnavailable, match=r"expected a version of wbc .* found none"):
            find_version(tmp_path / "missing")


class TestRefusals:
    async def test_a_repository_without_a_model(self, tmp_path: Path) -> None:
        server = EmbeddedModelServer(tmp_path)

        with pytest.raises(ModelServerUnavailable, match="found none"):
            await server.start()

        assert not await server.ready()

    async def test_a_version_without_a_graph(self, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()

        with pytest.raises(ModelServerUnavailable, match="version 1 holds no readable SavedModel"):
            await EmbeddedModelServer(tmp_path).start()

    @pytest.mark.parametrize("damage", ["graph", "variables"])
    async def test_damaged_files(
        self, small_exported_model: ExportedModel, tmp_path: Path, damage: str
    ) -> None:
        shutil.copytree(small_exported_model.version_dir, tmp_path / "1")
        if damage == "graph":
            (tmp_path / "1" / "saved_model.pb").write_bytes(b"no protobuf at all")
        else:
            (tmp_path / "1" / "variables" / "variables.index").write_bytes(b"no index")

        with pytest.raises(ModelServerUnavailable, match="cannot be read as a SavedModel"):
            await EmbeddedModelServer(tmp_path, threads=1).start()

    async def test_a_model_with_other_inputs_and_outputs(self, tmp_path: Path) -> None:
        image = keras.Input((224, 224, 3), name="pixels")
        model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
        archive = keras.export.ExportArchive()
        archive.add_endpoint(
            "serving_default",
            lambda pixels: {"main_out": model(pixels)},
            [keras.InputSpec(shape=(None, 224, 224, 3), dtype="float32", name="pixels")],
        )
        archive.write_out(str(tmp_path / "1"), verbose=False)

        with pytest.raises(
            ContractViolation,
            match=r"inputs of serving_default: expected .*images.*received .*pixels.*float32",
        ):
            await EmbeddedModelServer(tmp_path, threads=1).start()

    async def test_a_model_whose_answers_are_no_probabilities(self, tmp_path: Path) -> None:
        def of_zeros(images: Any, gain: Any, morphometry: Any, head: Any) -> dict[str, Any]:
            gain = gain + 0 * keras.ops.sum(morphometry, axis=1) + 0 * keras.ops.sum(head, axis=(1, 2))
            zero = (
                gain[:, None] * 0.0
                + keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2, 3))[:, None] * 0
            )
            cams = keras.ops.reshape(keras.ops.repeat(zero, 5 * 7 * 7, axis=1), (-1, 5, 7, 7))
            zeros = keras.ops.repeat(zero, 5, axis=1)
            return {
                "main_out": zeros,
                "aux_binary_out": zero,
                "logits": zeros + 0.0,
                "not_wbc": zero + 0.0,
                "features": keras.ops.repeat(zero, 2, axis=1),
                "cams": cams,
            }

        archive = keras.export.ExportArchive()
        specs = [
            keras.InputSpec(
                shape=(None, 3, 5) if spec.name == "head" else spec.shape, dtype=spec.dtype, name=spec.name
            )
            for spec in SIGNATURES["serving_default"].inputs
        ]
        archive.add_endpoint("serving_default", of_zeros, specs)
        archive.write_out(str(tmp_path / "1"), verbose=False)

        with pytest.raises(ContractViolation, match=r"probabilities that sum to 1, received \[0\.0"):
            await EmbeddedModelServer(tmp_path, threads=1).start()


def test_a_batch_that_fails_leaves_a_network_that_answers(small_exported_model: ExportedModel) -> None:
    network = OpenVinoNetwork(small_exported_model.version_dir, threads=2)
    good = views_of(4)
    before = network.run(good)

    with pytest.raises(RuntimeError):
        network.run(ViewBatch(good.images, good.gain[:3]))
    # Whichever stream takes the rows.
    for _ in range(4):
        after = network.run(good)
        np.testing.assert_array_equal(before.main_out, after.main_out)


def test_batches_of_many_threads_get_their_own_answers(small_exported_model: ExportedModel) -> None:
    network = OpenVinoNetwork(small_exported_model.version_dir, threads=2)
    questions = [views_of(2, seed) for seed in range(16)]
    alone = [network.run(views).main_out for views in questions]

    with ThreadPoolExecutor(6) as threads:
        together = [answer.main_out for answer in threads.map(network.run, questions)]

    np.testing.assert_allclose(together, alone, atol=1e-6)


SERVE_ONCE = """
import asyncio, json, sys
from pathlib import Path
import numpy as np
from orchestrator.domain import ViewBatch
from orchestrator.model_server.embedded import EmbeddedModelServer

async def main():
    server = EmbeddedModelServer(Path(sys.argv[1]), threads=1)
    await server.start()
    views = ViewBatch(np.zeros((1, 224, 224, 3), np.uint8), np.ones(1, np.float32))
    answer = await server.explain(views)
    await server.close()
    assert answer.cams.shape == (1, 5, 7, 7)

asyncio.run(main())
print(*sorted({name.partition(".")[0] for name, module in sys.modules.items() if module}))
"""


def test_serving_imports_no_tensorflow_and_tells_nobody(
    small_exported_model: ExportedModel, project_root: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ONCE, str(small_exported_model.model_dir)],
        cwd=project_root,
        env={"PYTHONPATH": str(project_root), "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )

    imported = set(done.stdout.split())
    assert {"openvino", "orchestrator"} <= imported
    assert imported.isdisjoint({"tensorflow", "keras", "jax", "torch", "training"})
    # What sends usage figures of OpenVINO, and the identity that it would leave in the home folder.
    assert "openvino_telemetry" not in imported
    assert list(tmp_path.iterdir()) == []

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import (
    ALLOWED_BATCH_SIZES,
    INPUTS,
    MAX_BATCH_SIZE,
    MODEL_NAME,
    SIGNATURES,
    admitted,
)
from tests.export_fixture import ExportedModel, small_classifier
from tests.random_images import varied_images
from training.classifier import build_classifier, with_served_outputs
from training.export import export_model
from training.export_check import check_export
from training.gradcam import autodiff_class_activation_maps
from training.warmup import WARMUP_FILE


def warmup_requests(version_dir: Path) -> list[Any]:
    records = tf.data.TFRecordDataset(str(version_dir / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


class TestTheServedNetwork:
    def test_signatures_are_those_of_the_contract(self, exported_model: ExportedModel) -> None:
        signatures = tf.saved_model.load(str(exported_model.version_dir)).signatures

        assert set(signatures) == set(SIGNATURES)
        for name, outputs in SIGNATURES.items():
            for specs, received in (
                (INPUTS, signatures[name].structured_input_signature[1]),
                (outputs, signatures[name].structured_outputs),
            ):
                assert admitted(specs, {key: (s.dtype.name, tuple(s.shape)) for key, s in received.items()})

    def test_answers_and_explains_as_the_keras_model(self, exported_model: ExportedModel) -> None:
        images = varied_images(3, 224, seed=5)
        gain = np.array([1.0, 1.1, 0.9], dtype=np.float32)
        pixels = np.clip(images / np.float32(255.0) * gain[:, None, None, None], 0.0, 1.0)
        expected = {
            name: np.asarray(value)
            for name, value in with_served_outputs(exported_model.model)(pixels).items()
        }

        signatures = tf.saved_model.load(str(exported_model.version_dir)).signatures
        answers = signatures["gradcam"](images=tf.constant(images), gain=tf.constant(gain))

        for name in ("main_out", "aux_binary_out"):
            np.testing.assert_allclose(answers[name].numpy(), expected[name], atol=1e-5)
        largest = np.abs(expected["logits"]).max()
        np.testing.assert_allclose(answers["logits"].numpy(), expected["logits"], atol=1e-5 * largest)
        np.testing.assert_allclose(tf.nn.softmax(answers["logits"]).numpy(), expected["main_out"], atol=1e-5)
        cams = autodiff_class_activation_maps(exported_model.model, answers["conv_maps"])
        assert np.abs(answers["cams"].numpy() - cams).max() <= 1e-5 * cams.max()
        # Rows and classes differ by far more than the tolerance: an exchange would show.
        assert np.ptp(expected["main_out"], axis=0).min() > 100 * 1e-5
        assert np.ptp(cams.max(axis=(2, 3)), axis=1).min() > 0.01 * cams.max()

    def test_every_parameter_is_stored_once_in_at_most_40_megabytes(
        self, exported_model: ExportedModel
    ) -> None:
        variables = exported_model.version_dir / "variables"
        stored = tf.train.list_variables(str(variables / "variables"))

        numbers = sum(int(np.prod(shape)) for name, shape in stored if "OBJECT_GRAPH" not in name)
        size = sum(path.stat().st_size for path in exported_model.version_dir.rglob("*") if path.is_file())

        assert numbers == 7_830_509
        assert size <= 40_000_000


class TestRefusals:
    def test_a_version_is_not_overwritten_unless_forced(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        repository = tmp_path / "repository"
        shutil.copytree(small_exported_model.repository, repository)
        (repository / "wbc" / "1" / "MODEL_CARD.md").write_text("of the old one")

        with pytest.raises(FileExistsError, match="version 1 of wbc"):
            export_model(small_exported_model.model, repository, version=1)
        assert (repository / "wbc" / "1" / "MODEL_CARD.md").exists()

        export_model(
            small_exported_model.model, repository, 1, force=True, check_images=varied_images(2, 224)
        )
        assert (repository / "wbc" / "1" / "saved_model.pb").exists()
        assert not (repository / "wbc" / "1" / "MODEL_CARD.md").exists()

    def test_a_model_that_fails_the_check_leaves_nothing(self, tmp_path: Path) -> None:
        model = small_classifier()
        model.get_layer("main_out").bias.assign([float("nan")] * 5)

        with pytest.raises(ContractViolation, match=r"main: main_out: .* received nan"):
            export_model(model, tmp_path, version=1)

        assert list((tmp_path / MODEL_NAME).iterdir()) == []

    def test_maps_of_another_width_keep_the_contract(self, tmp_path: Path) -> None:
        model = build_classifier("MobileNetV2", image_size=None)

        export_model(model, tmp_path, version=1)

        saved = tf.saved_model.load(str(tmp_path / MODEL_NAME / "1"))
        assert saved.signatures["gradcam"].structured_outputs["conv_maps"].shape[-1] == 1280

    def test_half_precision_is_refused(self, tmp_path: Path) -> None:
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = small_classifier()
        finally:
            keras.config.set_dtype_policy("float32")

        with pytest.raises(ValueError, match=r"computes in float32, got \['bfloat16', 'float32'\]"):
            export_model(model, tmp_path, version=1)

    def test_version_zero_is_refused(self, small_exported_model: ExportedModel, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least 1, got 0"):
            export_model(small_exported_model.model, tmp_path, version=0)


class TestTheCheck:
    def test_another_models_files_are_found_out(self, small_exported_model: ExportedModel) -> None:
        other = keras.models.clone_model(small_exported_model.model)
        other.set_weights(small_exported_model.model.get_weights())
        other.get_layer("aux_binary_out").bias.assign_add([0.001])

        with pytest.raises(ContractViolation, match="aux: aux_binary_out: expected at most 1e-05"):
            check_export(small_exported_model.version_dir, other, varied_images(2, 224))

    def test_logits_of_another_level_are_found_out_although_the_probabilities_agree(
        self, small_exported_model: ExportedModel
    ) -> None:
        other = keras.models.clone_model(small_exported_model.model)
        other.set_weights(small_exported_model.model.get_weights())
        other.get_layer("main_out").bias.assign_add([0.01] * 5)

        with pytest.raises(ContractViolation, match="classify: logits: expected at most"):
            check_export(small_exported_model.version_dir, other, varied_images(2, 224))

    def test_a_missing_signature_is_found_out(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        model = small_exported_model.model
        archive = keras.export.ExportArchive()
        archive.add_endpoint(
            "main", model.call, [keras.InputSpec(shape=(None, 224, 224, 3), dtype="float32")]
        )
        archive.write_out(str(tmp_path / "1"), verbose=False)

        with pytest.raises(ContractViolation, match=r"received \['main', 'serving_default'\]"):
            check_export(tmp_path / "1", model)

    def test_a_wrong_input_type_is_found_out(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        model = small_exported_model.model
        archive = keras.export.ExportArchive()
        for name in SIGNATURES:
            archive.add_endpoint(
                name, model.call, [keras.InputSpec(shape=(None, 224, 224, 3), dtype="float32", name="images")]
            )
        archive.write_out(str(tmp_path / "1"), verbose=False)

        with pytest.raises(ContractViolation, match=r"inputs of main: expected .*uint8.* received .*float32"):
            check_export(tmp_path / "1", model)

    def test_variables_stored_twice_are_found_out(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        model = small_exported_model.model
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            "main", model.call, [keras.InputSpec(shape=(None, 224, 224, 3), dtype="float32")]
        )
        archive.write_out(str(tmp_path / "1"), verbose=False)

        count, dropout_seeds = model.count_params(), 2 * 2
        with pytest.raises(
            ContractViolation,
            match=rf"expected {count} stored parameters, received {2 * count + dropout_seeds}",
        ):
            check_export(tmp_path / "1", model)


class TestWarmUp:
    def test_covers_every_signature_at_every_allowed_batch_size(
        self, small_exported_model: ExportedModel
    ) -> None:
        requests = warmup_requests(small_exported_model.version_dir)

        covered = [
            (request.model_spec.signature_name, request.inputs["gain"].tensor_shape.dim[0].size)
            for request in requests
        ]
        assert sorted(covered) == sorted(
            (signature, rows) for signature in SIGNATURES for rows in ALLOWED_BATCH_SIZES
        )
        assert {request.model_spec.name for request in requests} == {MODEL_NAME}
        assert (small_exported_model.version_dir / WARMUP_FILE).stat().st_size < 100_000

    def test_records_are_whole_batches_as_tensorflow_reads_them(
        self, small_exported_model: ExportedModel
    ) -> None:
        signatures = tf.saved_model.load(str(small_exported_model.version_dir)).signatures

        for request in warmup_requests(small_exported_model.version_dir):
            # Parsed by TensorFlow's own runtime, the reader that the server uses.
            images = tf.io.parse_tensor(request.inputs["images"].SerializeToString(), tf.uint8)
            gain = tf.io.parse_tensor(request.inputs["gain"].SerializeToString(), tf.float32)
            answers = signatures[request.model_spec.signature_name](images=images, gain=gain)

            assert tuple(images.shape) == (len(gain), 224, 224, 3)
            assert int(tf.reduce_min(images)) == int(tf.reduce_max(images)) == 128
            np.testing.assert_array_equal(gain.numpy(), 1.0)
            assert {len(answer) for answer in answers.values()} == {len(gain)}


class TestServerConfiguration:
    def test_models_config_is_a_model_server_config(self, small_exported_model: ExportedModel) -> None:
        config = text_format.Parse(
            (small_exported_model.repository / "models.config").read_text(),
            model_server_config_pb2.ModelServerConfig(),
        )

        (model,) = config.model_config_list.config
        assert (model.name, model.base_path, model.model_platform) == ("wbc", "/models/wbc", "tensorflow")
        assert model.model_version_policy.latest.num_versions == 1

    def test_batching_config_is_a_set_of_batching_parameters(
        self, small_exported_model: ExportedModel
    ) -> None:
        message = serving_message("BatchingParameters")
        config = text_format.Parse((small_exported_model.repository / "batching.config").read_text(), message)

        # The server refuses to start where the last allowed size is not the largest batch.
        assert tuple(config.allowed_batch_sizes) == ALLOWED_BATCH_SIZES
        assert config.max_batch_size.value == config.allowed_batch_sizes[-1] == MAX_BATCH_SIZE
        assert config.max_enqueued_batches.value >= 1
        assert config.num_batch_threads.value >= 1

    def test_monitoring_config_turns_prometheus_on(self, small_exported_model: ExportedModel) -> None:
        message = serving_message("MonitoringConfig")
        config = text_format.Parse(
            (small_exported_model.repository / "monitoring.config").read_text(), message
        )

        assert config.prometheus_config.enable
        assert config.prometheus_config.path == "/monitoring/prometheus/metrics"

    def test_a_sites_own_configuration_stays(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        (tmp_path / "batching.config").write_text("max_batch_size { value: 64 }")

        export_model(small_exported_model.model, tmp_path, 1, check_images=varied_images(2, 224))

        assert (tmp_path / "batching.config").read_text() == "max_batch_size { value: 64 }"
        assert (tmp_path / "models.config").exists()


def serving_message(name: str) -> Any:
    """A message of TensorFlow Serving whose Python class tensorflow-serving-api leaves out.

    Fields as in tensorflow_serving/config/monitoring_config.proto and
    tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="serving_messages.proto",
        package="wbc.test.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )

    def add(
        message: str, fields: list[tuple[str, int, int, str | None]], repeated: tuple[str, ...] = ()
    ) -> None:
        descriptor = file.message_type.add(name=message)
        for field_name, number, kind, type_name in fields:
            label = field.LABEL_REPEATED if field_name in repeated else field.LABEL_OPTIONAL
            descriptor.field.add(
                name=field_name, number=number, type=kind, label=label, type_name=type_name or None
            )

    add("PrometheusConfig", [("enable", 1, field.TYPE_BOOL, None), ("path", 2, field.TYPE_STRING, None)])
    prometheus = ".wbc.test.serving.PrometheusConfig"
    add("MonitoringConfig", [("prometheus_config", 1, field.TYPE_MESSAGE, prometheus)])
    int64, string = (f".google.protobuf.{kind}Value" for kind in ("Int64", "String"))
    add(
        "BatchingParameters",
        [
            ("max_batch_size", 1, field.TYPE_MESSAGE, int64),
            ("batch_timeout_micros", 2, field.TYPE_MESSAGE, int64),
            ("max_enqueued_batches", 3, field.TYPE_MESSAGE, int64),
            ("num_batch_threads", 4, field.TYPE_MESSAGE, int64),
            ("thread_pool_name", 5, field.TYPE_MESSAGE, string),
            ("allowed_batch_sizes", 6, field.TYPE_INT64, None),
            ("pad_variable_length_inputs", 7, field.TYPE_BOOL, None),
        ],
        repeated=("allowed_batch_sizes",),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"wbc.test.serving.{name}"))()

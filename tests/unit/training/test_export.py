import shutil
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from numpy.typing import NDArray
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import (
    ALLOWED_BATCH_SIZES,
    MAX_BATCH_SIZE,
    MODEL_NAME,
    SIGNATURES,
    UNKNOWN,
    admitted,
)
from orchestrator.views import VIEWS
from tests.export_fixture import EVIDENCE, ExportedModel, small_classifier
from tests.random_images import varied_images
from tests.random_weights import randomise
from training.classifier import assemble_classifier, build_classifier, with_served_outputs
from training.export import export_model
from training.export_check import check_export
from training.folding import fold_batch_norms
from training.gradcam import autodiff_class_activation_maps
from training.morphometric_evidence import NO_EVIDENCE, MorphometricEvidence
from training.warmup import WARMUP_FILE

NOTHING = [UNKNOWN] * 8
MEASURED = [0.8, 0.5, -0.75, 0.25, -2.0, -0.5, -0.3, 0.8]


def warmup_requests(version_dir: Path) -> list[Any]:
    records = tf.data.TFRecordDataset(str(version_dir / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def test_a_baseline_of_other_maps_and_a_plain_head_is_exported_and_checked_as_any(tmp_path: Path) -> None:
    """512 maps, as VGG16 has them, and neither attention nor MedSwish."""
    backbone = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.AveragePooling2D(8),
            keras.layers.Conv2D(512, 4, strides=4, activation="relu"),
        ],
        name="backbone",
    )
    model = randomise(assemble_classifier(backbone, "caffe", attention=False, med_swish=False))

    version_dir = export_model(model, tmp_path, 1)

    signature = tf.saved_model.load(str(version_dir)).signatures["gradcam"]
    assert signature.structured_outputs["conv_maps"].shape[-1] == 512


class TestTheServedNetwork:
    def test_signatures_are_those_of_the_contract(self, exported_model: ExportedModel) -> None:
        signatures = tf.saved_model.load(str(exported_model.version_dir)).signatures

        assert set(signatures) == set(SIGNATURES)
        for name, signature in SIGNATURES.items():
            for specs, received in (
                (signature.inputs, signatures[name].structured_input_signature[1]),
                (signature.outputs, signatures[name].structured_outputs),
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

        for name in ("main_out", "aux_binary_out", "not_wbc"):
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

        assert numbers == 7_808_302  # 7,830,766 less three for each channel of a folded normalisation
        assert size <= 40_000_000


@cache
def loaded(version_dir: Path) -> Any:
    return tf.saved_model.load(str(version_dir))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(tf.nn.softmax(logits))


class TestWhatASiteAdds:
    """The signatures ``serving_default`` and ``views``."""

    IMAGES = varied_images(2, 224, seed=5)

    @pytest.fixture
    def signatures(self, small_exported_model: ExportedModel) -> Any:
        return loaded(small_exported_model.version_dir).signatures

    def ask(
        self, signatures: Any, head: Any = None, morphometry: Any = None
    ) -> dict[str, NDArray[np.float32]]:
        rows = len(self.IMAGES)
        answers = signatures["serving_default"](
            images=tf.constant(self.IMAGES),
            gain=tf.ones(rows),
            morphometry=tf.constant([NOTHING] * rows if morphometry is None else morphometry, tf.float32),
            head=tf.zeros([rows, 257, 5]) if head is None else tf.constant(head, tf.float32),
        )
        return {name: value.numpy() for name, value in answers.items()}

    def test_a_head_of_zeros_and_unknown_measures_leave_the_models_own_answer(self, signatures: Any) -> None:
        plain = signatures["gradcam"](images=tf.constant(self.IMAGES), gain=tf.ones(2))

        served = self.ask(signatures)

        for name in ("main_out", "logits", "aux_binary_out", "not_wbc"):
            np.testing.assert_allclose(served[name], plain[name], atol=1e-5)
        np.testing.assert_allclose(served["cams"], plain["cams"], atol=1e-5 * served["cams"].max())

    def test_a_head_that_flips_the_class_flips_it_in_its_row_and_in_the_maps_alone(
        self, signatures: Any
    ) -> None:
        own = self.ask(signatures)
        first = int(own["main_out"][1].argmax())
        other = (first + 1) % 5
        # The other class's logit is that of the first, and more: by the features, not by the bias.
        features = own["features"][1]
        head = np.zeros((2, 257, 5), np.float32)
        gap = own["logits"][1, first] - own["logits"][1, other] + 5.0
        head[1, :256, other] = gap * features / (features @ features)

        site = self.ask(signatures, head=head)

        np.testing.assert_allclose(site["logits"][0], own["logits"][0], atol=1e-5)
        assert int(site["main_out"][1].argmax()) == other
        np.testing.assert_allclose(site["logits"][1, other], own["logits"][1, first] + 5.0, rtol=1e-4)
        np.testing.assert_allclose(site["main_out"], softmax(site["logits"]), atol=1e-6)
        largest = own["cams"].max()
        changed = np.abs(site["cams"] - own["cams"]).max(axis=(2, 3)) > 1e-3 * largest
        assert changed.tolist() == [[False] * 5, [index == other for index in range(5)]]
        np.testing.assert_array_equal(site["features"], own["features"])

    def test_a_heads_last_row_is_its_bias(self, signatures: Any) -> None:
        head = np.zeros((2, 257, 5), np.float32)
        head[:, 256] = [0.0, 1.0, 2.0, 3.0, 4.0]

        moved = self.ask(signatures, head=head)["logits"] - self.ask(signatures)["logits"]

        np.testing.assert_allclose(moved, head[:, 256], atol=1e-5)

    def test_the_size_is_evidence_by_its_powers_where_it_is_known(self, signatures: Any) -> None:
        own = self.ask(signatures)

        sized = self.ask(signatures, morphometry=[[0.8, *NOTHING[1:]], [-60.0, *NOTHING[1:]]])

        evidence = np.array([1.0, 0.8, 0.64], np.float32) @ EVIDENCE[0]
        np.testing.assert_allclose(sized["logits"][0], own["logits"][0] + evidence, atol=1e-4)
        np.testing.assert_allclose(sized["main_out"][0], softmax(sized["logits"][:1])[0], atol=1e-6)
        np.testing.assert_array_equal(sized["logits"][1], own["logits"][1])
        np.testing.assert_array_equal(sized["cams"], own["cams"])

    def test_appearance_and_outline_are_evidence_by_all_products_beside_the_size(
        self, signatures: Any
    ) -> None:
        own = self.ask(signatures)
        added = []
        for measures, table, limit in zip(
            (MEASURED[1:4], MEASURED[4:], MEASURED[:1]),
            (*EVIDENCE[1:], EVIDENCE[0]),
            (2.0, 2.0, np.inf),
            strict=True,
        ):
            products = [x * y for i, x in enumerate(measures) for y in measures[i:]]
            free = np.array([1.0, *measures, *products], np.float32) @ table
            assert np.ptp(free) > min(limit, 2.0)
            added.append(np.maximum(free, free.max() - limit))
        appearance, outline, size = added

        for morphometry, expected in (
            ([UNKNOWN, *MEASURED[1:4], *NOTHING[4:]], appearance),
            ([*NOTHING[:4], *MEASURED[4:]], outline),
            (MEASURED, appearance + outline + size),
        ):
            seen = self.ask(signatures, morphometry=[morphometry, NOTHING])

            np.testing.assert_allclose(seen["logits"][0], own["logits"][0] + expected, atol=1e-4)
            np.testing.assert_array_equal(seen["logits"][1], own["logits"][1])
            np.testing.assert_allclose(seen["main_out"], softmax(seen["logits"]), atol=1e-6)
            np.testing.assert_array_equal(seen["cams"], own["cams"])

    @pytest.mark.parametrize("place", range(1, 8))
    @pytest.mark.parametrize("unknown", [UNKNOWN, -50.0, np.nan])
    def test_where_one_measure_of_a_part_is_unknown_the_part_adds_nothing(
        self, signatures: Any, place: int, unknown: float
    ) -> None:
        part = slice(1, 4) if place < 4 else slice(4, 8)
        morphometry = np.array([NOTHING] * 2, np.float32)
        morphometry[:, part] = MEASURED[part]
        morphometry[:, place] = unknown

        seen = self.ask(signatures, morphometry=morphometry)

        np.testing.assert_array_equal(seen["logits"], self.ask(signatures)["logits"])

    def test_what_is_no_number_counts_as_unknown(self, signatures: Any) -> None:
        seen = self.ask(signatures, morphometry=np.full((2, 8), np.nan))

        np.testing.assert_array_equal(seen["logits"], self.ask(signatures)["logits"])

    def test_views_of_an_image_are_answered_as_the_rows_that_numpy_makes(self, signatures: Any) -> None:
        codes = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [-1, 5, -1, -1, 6, -1, 0, -1]], np.int32)
        head = np.random.default_rng(3).normal(scale=0.05, size=(2, 257, 5)).astype(np.float32)
        morphometry = np.array([MEASURED, NOTHING], np.float32)

        answers = signatures["views"](
            image=tf.constant(self.IMAGES),
            codes=tf.constant(codes),
            morphometry=tf.constant(morphometry),
            head=tf.constant(head),
        )

        of, place = np.nonzero(codes >= 0)
        views = [VIEWS[code] for code in codes[of, place]]
        rows = np.stack([view.apply(self.IMAGES[row]) for row, view in zip(of, views, strict=True)])
        gain = np.array([view.gain for view in views], np.float32)
        expected = signatures["serving_default"](
            images=tf.constant(rows),
            gain=tf.constant(gain),
            morphometry=tf.constant(morphometry[of]),
            head=tf.constant(head[of]),
        )
        assert set(answers) == set(expected)
        for name, value in answers.items():
            assert value.shape == (2, 8, *expected[name].shape[1:])
            np.testing.assert_allclose(
                value.numpy()[of, place], expected[name], atol=1e-5 * max(1.0, np.abs(expected[name]).max())
            )
            assert not value.numpy()[codes < 0].any()
        # Each view is another: one taken for another would show.
        logits = answers["logits"].numpy()[0]
        apart = np.abs(logits[:, None] - logits[None]).max(axis=-1) + np.eye(8)
        assert apart.min() > 1e-3

    def test_no_view_at_all_is_answered_with_zeros(self, signatures: Any) -> None:
        answers = signatures["views"](
            image=tf.constant(self.IMAGES),
            codes=tf.fill([2, 8], -1),
            morphometry=tf.fill([2, 8], UNKNOWN),
            head=tf.zeros([2, 257, 5]),
        )

        assert all(value.shape[:2] == (2, 8) and not value.numpy().any() for value in answers.values())

    @pytest.mark.parametrize(
        ("name", "table"),
        [
            ("size", np.zeros((2, 5), np.float32)),
            ("size", np.full((3, 5), np.nan, np.float32)),
            ("appearance", np.zeros((3, 5), np.float32)),
        ],
        ids=["shape", "nan", "appearance"],
    )
    def test_evidence_of_another_kind_is_refused(
        self, small_exported_model: ExportedModel, tmp_path: Path, name: str, table: NDArray[np.float32]
    ) -> None:
        with pytest.raises(ValueError, match=f"finite evidence of the {name}"):
            export_model(
                small_exported_model.model, tmp_path, 1, evidence=NO_EVIDENCE._replace(**{name: table})
            )


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

    def test_a_linear_head_keeps_the_contract(self, tmp_path: Path) -> None:
        model = randomise(build_classifier("MobileNetV2", image_size=None, head_units=()))

        export_model(model, tmp_path, version=1)

        signature = tf.saved_model.load(str(tmp_path / MODEL_NAME / "1")).signatures["serving_default"]
        assert signature.structured_input_signature[1]["head"].shape == (None, 1281, 5)

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

    @pytest.mark.parametrize(("name", "rows"), [("size", 3), ("appearance", 10), ("outline", 15)])
    def test_other_evidence_is_found_out(
        self, small_exported_model: ExportedModel, name: str, rows: int
    ) -> None:
        evidence = MorphometricEvidence(*EVIDENCE)
        other = np.tile(np.arange(5, dtype=np.float32), (rows, 1))

        with pytest.raises(
            ContractViolation, match=r"serving_default of a site: (main_out|logits): expected"
        ):
            check_export(
                small_exported_model.version_dir,
                small_exported_model.model,
                varied_images(2, 224),
                evidence._replace(**{name: other}),
            )

    def test_a_missing_signature_is_found_out(
        self, small_exported_model: ExportedModel, tmp_path: Path
    ) -> None:
        model = fold_batch_norms(small_exported_model.model)
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
        model = fold_batch_norms(small_exported_model.model)
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
        model = fold_batch_norms(small_exported_model.model)
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
            if "gain" in request.inputs
        ]
        assert sorted(covered) == sorted(
            (signature, rows)
            for signature in SIGNATURES
            if signature != "views"
            for rows in ALLOWED_BATCH_SIZES
        )
        views = [
            tf.make_ndarray(request.inputs["codes"]) for request in requests if "codes" in request.inputs
        ]
        assert [(len(codes), int((codes >= 0).sum())) for codes in views] == [
            (1, 1),
            *((images, 8 * images) for images in ALLOWED_BATCH_SIZES),
        ]
        assert {request.model_spec.name for request in requests} == {MODEL_NAME}
        assert (small_exported_model.version_dir / WARMUP_FILE).stat().st_size < 100_000

    def test_records_are_whole_batches_as_tensorflow_reads_them(
        self, small_exported_model: ExportedModel
    ) -> None:
        signatures = tf.saved_model.load(str(small_exported_model.version_dir)).signatures

        for request in warmup_requests(small_exported_model.version_dir):
            # Parsed by TensorFlow's own runtime, the reader that the server uses.
            feed = {
                name: tf.io.parse_tensor(tensor.SerializeToString(), tf.as_dtype(tensor.dtype))
                for name, tensor in request.inputs.items()
            }
            answers = signatures[request.model_spec.signature_name](**feed)

            images = feed["images"] if "images" in feed else feed["image"]
            assert tuple(images.shape)[1:] == (224, 224, 3)
            assert int(tf.reduce_min(images)) == int(tf.reduce_max(images)) == 128
            assert {len(value) for value in (*feed.values(), *answers.values())} == {len(images)}
            for name, value in (("gain", 1.0), ("morphometry", UNKNOWN), ("head", 0.0)):
                np.testing.assert_array_equal(feed.get(name, value), value)


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

    Fields as in monitoring_config.proto and ssl_config.proto of tensorflow_serving/config/ and in
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
    text = ("server_key", "server_cert", "custom_ca")
    fields = [(name, number, field.TYPE_STRING, None) for number, name in enumerate(text, 1)]
    add("SSLConfig", [*fields, ("client_verify", 4, field.TYPE_BOOL, None)])
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

"""The models that the Open Inference Protocol sees: the network as it is, and the whole analysis around it.

``wbc`` is the network of the model contract: prepared images in, tensors out. ``wbc_analysis`` is what
``POST /v1/analyses`` does: files in, decisions out.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, Final, Protocol

import numpy as np
from pydantic import ValidationError

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.domain import Analysis, ViewBatch
from orchestrator.edge.open_inference.schemas import (
    DataType,
    InferenceTooLarge,
    MalformedInference,
    RequestParameters,
    TensorMetadata,
    UnknownModel,
)
from orchestrator.edge.open_inference.tensors import DTYPES, Array, bytes_array
from orchestrator.edge.parameters import AnalysisParameters
from orchestrator.errors import InvalidImage, ModelServerUnavailable, UnknownProfile
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    FEATURES,
    GAIN,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MAX_BATCH_SIZE,
    MODEL_NAME,
    NOT_WBC,
    NUM_CLASSES,
    TensorSpec,
)
from orchestrator.observability.request_context import current_request_id
from orchestrator.observability.stages import stage
from orchestrator.vision.containers import read_container

MODEL_NAMES: Final = (MODEL_NAME, f"{MODEL_NAME}_analysis")

MAX_IMAGES: Final = 16
"""Files in one request; they are analysed one after the other, within one deadline."""

_JSON_BYTES: Final = 8 * 2**20
"""Enough for a whole batch as binary data (4.8 MB), and for about ten images as JSON."""

_OF_ANALYSES: Final = {"profile", "tta", "language"}
"""Parameters of a request."""

_DATA_TYPES: Final[Mapping[str, DataType]] = {"uint8": "UINT8", "float32": "FP32"}


@dataclass(frozen=True, slots=True)
class Inference:
    """What a model answers: the version that did, and the outputs that were wanted."""

    version: int
    outputs: Mapping[str, Array]


class InferenceModel(Protocol):
    """A model as the protocol knows it. The first size of every tensor is the number of rows."""

    @property
    def name(self) -> str:
        """In the path of a request."""

    @property
    def platform(self) -> str:
        """What kind of model it is, for people."""

    @property
    def inputs(self) -> tuple[TensorMetadata, ...]:
        """All, the optional ones too."""

    @property
    def outputs(self) -> tuple[TensorMetadata, ...]:
        """All that may be asked for."""

    @property
    def optional_inputs(self) -> frozenset[str]:
        """Names of the inputs that a request may leave out."""

    @property
    def files(self) -> frozenset[str]:
        """Names of the tensors of type BYTES that hold files, which JSON carries as base64."""

    @property
    def max_rows(self) -> int:
        """Rows in one request."""

    @property
    def max_body_bytes(self) -> int:
        """Bytes of one request."""

    async def infer(
        self, inputs: Mapping[str, Array], wanted: Set[str], parameters: RequestParameters
    ) -> Inference:
        """Answer for ``inputs``, which are as ``self.inputs`` says.

        Raises:
            MalformedInference: they do not go together, or a parameter is wrong.
            WbcError: as the model server, or the analysis.
        """


class NetworkModel:
    """The network, whichever model server runs it. Takes images as the contract has them: after the MEF."""

    name = MODEL_NAMES[0]
    platform = "tensorflow_savedmodel"
    optional_inputs = frozenset({GAIN.name})
    files: frozenset[str] = frozenset()
    max_rows = MAX_BATCH_SIZE
    max_body_bytes = _JSON_BYTES

    def __init__(self, services: Services) -> None:
        self._model_server = services.model_server
        self.inputs = tuple(map(_metadata, (IMAGES, GAIN)))
        self.outputs = tuple(map(_metadata, (MAIN_OUT, AUX_OUT, LOGITS, NOT_WBC, FEATURES, CAMS)))

    async def infer(
        self,
        inputs: Mapping[str, Array],
        wanted: Set[str],
        parameters: RequestParameters,
    ) -> Inference:
        """See :class:`InferenceModel`; ``gain`` is 1 where it is absent."""
        if asked := parameters.model_dump(include=_OF_ANALYSES, exclude_none=True):
            raise MalformedInference(f"The network has no {', '.join(asked)}; ask {MODEL_NAMES[1]}.")
        images = inputs[IMAGES.name]
        gain = inputs.get(GAIN.name)
        if gain is None:
            gain = np.ones(len(images), np.float32)
        if len(gain) != len(images):
            raise MalformedInference(f"{GAIN.name}: expected {len(images)} values, received {len(gain)}.")
        views = ViewBatch(images, gain.astype(np.float32, copy=False))
        server = self._model_server
        with stage("predict"):
            answer = await (server.explain(views) if CAMS.name in wanted else server.classify(views))
        outputs = {
            MAIN_OUT.name: answer.main_out,
            AUX_OUT.name: answer.aux_out[:, np.newaxis],
            LOGITS.name: answer.logits,
            NOT_WBC.name: answer.not_wbc[:, np.newaxis],
            FEATURES.name: answer.features,
            CAMS.name: answer.cams,
        }
        return Inference(
            answer.model.version,
            {name: array for name, array in outputs.items() if name in wanted and array is not None},
        )


def _output(
    name: str, datatype: DataType, value: Callable[[Analysis], Any], *sizes: int
) -> tuple[str, tuple[TensorMetadata, Callable[[Analysis], Any]]]:
    return name, (TensorMetadata(name=name, datatype=datatype, shape=[-1, *sizes]), value)


_ANALYSIS: Final = dict(
    (
        _output("class", "BYTES", lambda of: of.finding.class_name.encode()),
        _output("confidence", "FP64", lambda of: of.finding.confidence),
        _output("margin", "FP64", lambda of: of.finding.margin),
        _output("decided_by", "BYTES", lambda of: of.finding.decided_by.encode()),
        _output("probabilities", "FP64", lambda of: of.finding.probabilities, NUM_CLASSES),
        _output("aux_neutrophil_probability", "FP64", lambda of: of.finding.aux_neutrophil),
        _output("energy", "FP64", lambda of: of.finding.energy),
        _output("not_wbc", "FP64", lambda of: of.finding.not_wbc),
        _output("needs_review", "BOOL", lambda of: of.finding.needs_review),
        _output(
            "review_reasons", "BYTES", lambda of: ",".join(r.code for r in of.finding.review_reasons).encode()
        ),
        _output("device_state", "BYTES", lambda of: of.device_state.encode()),
        _output("profile", "BYTES", lambda of: of.profile.encode()),
        _output("profile_sha256", "BYTES", lambda of: (of.profile_sha256 or "").encode()),
        _output("head", "BYTES", lambda of: (of.head or "").encode()),
        _output("box", "FP64", lambda of: (0.0,) * 4 if of.box is None else astuple(of.box), 4),
        _output("views", "INT32", lambda of: of.views),
        _output("focus_ratio", "FP64", lambda of: of.focus_ratio or 0.0),
        _output("heatmap", "BYTES", lambda of: of.overlay.data if of.overlay else b""),
        _output("report", "BYTES", lambda of: of.report.text.encode() if of.report else b""),
    )
)
"""The outputs of ``wbc_analysis``; a focus ratio of 0 and empty bytes where it was not asked for. The
``box`` is top, left, bottom and right in pixels of the upright image; four zeros where no cell was found."""


def analysis_outputs(analysis: Analysis) -> Mapping[str, Any]:
    """One row of each output."""
    return {name: value(analysis) for name, (_, value) in _ANALYSIS.items()}


class AnalysisModel:
    """The whole analysis of images as files. Parameters of a request: ``profile``, ``tta``, ``language``."""

    name = MODEL_NAMES[1]
    platform = "wbc_pipeline"
    inputs = (TensorMetadata(name="image", datatype="BYTES", shape=[-1]),)
    outputs = tuple(metadata for metadata, _ in _ANALYSIS.values())
    optional_inputs: frozenset[str] = frozenset()
    files = frozenset({"image", "heatmap"})
    max_rows = MAX_IMAGES

    def __init__(self, services: Services) -> None:
        self._services = services
        # The files together have at most the size of one; base64 makes a third more of it.
        self.max_body_bytes = services.decode_limits.max_bytes * 4 // 3 + 64 * 2**10

    async def infer(
        self, inputs: Mapping[str, Array], wanted: Set[str], parameters: RequestParameters
    ) -> Inference:
        """See :class:`InferenceModel`. Heatmaps and reports are made only where they are wanted."""
        options = self._options(wanted, parameters)
        payloads: list[bytes] = inputs["image"].tolist()
        await asyncio.to_thread(_check_sizes, payloads, self._services.decode_limits.max_pixels)
        rows: list[Mapping[str, Any]] = []
        versions: set[int] = set()
        for number, payload in enumerate(payloads, 1):
            with _named(number):
                analysis = await analyse(payload, self._services, options, current_request_id())
                # Its other maps go with it, which are larger than the image.
                rows.append(analysis_outputs(analysis))
            versions.add(analysis.model.version)
        if len(versions) > 1:
            raise ModelServerUnavailable("Another version of the model came into service; ask again.")
        datatypes = {tensor.name: tensor.datatype for tensor in self.outputs}
        columns = {name: _column([row[name] for row in rows], datatypes[name]) for name in wanted}
        return Inference(versions.pop(), columns)

    def _options(self, wanted: Set[str], parameters: RequestParameters) -> AnalysisOptions:
        asked = parameters.model_dump(include=_OF_ANALYSES, exclude_none=True)
        try:
            chosen = AnalysisParameters.model_validate(asked)
        except ValidationError as error:
            names = sorted({str(found["loc"][0]) for found in error.errors(include_url=False)})
            raise MalformedInference(f"A parameter is wrong: {', '.join(names)}.") from error
        try:
            self._services.profile(chosen.profile)
        except UnknownProfile as error:
            raise MalformedInference(
                f"There is no such profile; expected one of {', '.join(error.known)}."
            ) from error
        return AnalysisOptions(
            profile=chosen.profile,
            tta=chosen.tta,
            language=chosen.language,
            # Whether the heatmap lies on the cell is one of the reasons for a review.
            heatmap=bool(wanted & {"heatmap", "focus_ratio", "needs_review", "review_reasons"}),
            report="report" in wanted,
        )


def inference_models(services: Services) -> Mapping[str, InferenceModel]:
    """The models by their names."""
    models: tuple[InferenceModel, ...] = (NetworkModel(services), AnalysisModel(services))
    return {model.name: model for model in models}


def known_model(models: Mapping[str, InferenceModel], name: str) -> InferenceModel:
    """The model of this name. Raises :class:`UnknownModel`."""
    try:
        return models[name]
    except KeyError:
        raise UnknownModel(f"There is no such model; there are {', '.join(models)}.") from None


@contextmanager
def _named(number: int) -> Iterator[None]:
    """Say of an error which image it is about."""
    try:
        yield
    except InvalidImage as error:
        raise type(error)(f"Image {number}: {error}") from error


def _check_sizes(payloads: Sequence[bytes], max_pixels: int) -> None:
    """Refuse, by their headers, images that have more pixels together than one may have: their heatmaps, in
    their own sizes, are all in memory at the end.

    Raises:
        InvalidImage: a file is no image that can be analysed.
        InferenceTooLarge: together they are too large.
    """
    pixels = 0
    for number, payload in enumerate(payloads, 1):
        with _named(number):
            container = read_container(payload, max_pixels)
        pixels += container.width * container.height
        if pixels > max_pixels:
            raise InferenceTooLarge(f"The images together have more than {max_pixels} pixels; send fewer.")


def _metadata(spec: TensorSpec) -> TensorMetadata:
    return TensorMetadata(
        name=spec.name,
        datatype=_DATA_TYPES[spec.dtype],
        shape=[-1 if size is None else size for size in spec.shape],
    )


def _column(rows: list[Any], datatype: DataType) -> Array:
    return bytes_array(rows, [len(rows)]) if datatype == "BYTES" else np.array(rows, DTYPES[datatype])

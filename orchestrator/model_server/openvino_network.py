"""The network, run by OpenVINO in this process from a SavedModel directory.

OpenVINO reads the signature ``serving_default`` without conversion and without TensorFlow.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from threading import Lock
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.common.cores import available_cores
from orchestrator.domain import Float32Array, ModelIdentity, Prediction, UInt8Array, ViewBatch
from orchestrator.errors import ConfigurationError, ContractViolation, ModelServerUnavailable
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    FEATURES,
    GAIN,
    HEAD,
    IMAGE_SIZE,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MEASURES,
    MORPHOMETRY,
    NOT_WBC,
    NUM_CLASSES,
    ROWS_SIGNATURE,
    SIGNATURES,
    UNKNOWN,
    admitted,
)

# Importing openvino sends a usage event to a third party, under an identity that it stores in the home
# folder, unless the package that does this is missing; openvino then does without. A hospital's machine
# tells nobody what runs on it.
sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))

import openvino as ov  # noqa: E402

_LOGGER = logging.getLogger(__name__)

Precision = Literal["f32", "bf16", "f16"]

VIEWS_PER_IMAGE: Final = 8
"""Rows of the test-time augmentation: what one request usually brings."""


class NetworkAnswer(NamedTuple):
    """The outputs for N rows, float32: ``[N, 5]``, ``[N, 1]``, ``[N, 5]``, ``[N, 1]``, ``[N, F]`` and
    ``[N, 5, 7, 7]``."""

    main_out: Float32Array
    aux_binary_out: Float32Array
    logits: Float32Array
    not_wbc: Float32Array
    features: Float32Array
    cams: Float32Array

    def prediction(self, model: ModelIdentity) -> Prediction:
        """The same as the answer of ``model``."""
        return Prediction(
            self.main_out,
            self.aux_binary_out[:, 0],
            self.logits,
            self.not_wbc[:, 0],
            self.features,
            self.cams,
            model,
        )


class OpenVinoNetwork:
    """A compiled network with parallel streams: as many batches at once as there are ``streams``.

    Each stream is a share of the threads. Streams need not wait for each other at every layer, as threads
    within one request do: measured with DenseNet121, 8 rows on 4 shared cores, four streams of one thread
    took 0.34 s, one stream of four threads 0.74 s. Threads are not pinned to cores, since these are not ours
    alone.
    """

    def __init__(
        self,
        version_dir: Path,
        *,
        precision: Precision = "f32",
        threads: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Read and compile the SavedModel in ``version_dir``.

        ``precision`` is what the hardware may compute in; a CPU without it computes in float32, which
        the log says. ``threads`` is the number of CPU threads, by default one for each core that this
        process may use. ``cache_dir`` keeps the compiled network for the next start; it must belong to
        this very model, since OpenVINO does not look at the variables to tell one from another.

        Raises:
            ModelServerUnavailable: OpenVINO cannot read the model.
            ContractViolation: its inputs or outputs are not those of the contract.
            ConfigurationError: nothing can be written to ``cache_dir``.
        """
        self._version_dir = version_dir
        threads = threads or available_cores()
        self.streams = min(threads, VIEWS_PER_IMAGE)
        self._options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self.streams,
            "ENABLE_CPU_PINNING": False,
        }
        self._core = ov.Core()
        if cache_dir is not None:
            try:
                cache_dir.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=cache_dir):
                    pass
            except OSError as error:
                raise ConfigurationError(
                    f"WBC_EMBEDDED__CACHE_DIR: cannot be written ({error.strerror})"
                ) from error
            self._core.set_property({"CACHE_DIR": str(cache_dir)})
        compiled = self._compile()
        self.features = _check_contract(compiled)
        computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if computes_in != precision:
            _LOGGER.warning(
                "this CPU does not compute in %s; the network computes in %s", precision, computes_in
            )
        self._compiled: ov.CompiledModel | None = compiled
        self._compiling = Lock()
        self._idle = SimpleQueue[_Request]()
        for _ in range(self.streams):
            self._idle.put(_Request(compiled))

    def _compile(self) -> ov.CompiledModel:
        try:
            return self._core.compile_model(str(self._version_dir), "CPU", self._options)
        except RuntimeError as error:
            raise ModelServerUnavailable("the model cannot be read as a SavedModel") from error

    def run(self, views: ViewBatch) -> NetworkAnswer:
        """Return the outputs for the rows of ``views``, in their order; from any thread.

        Waits for a stream where all are at work.

        Raises:
            RuntimeError: OpenVINO failed; the next call compiles the network anew.
            ModelServerUnavailable: compiling it anew failed.
        """
        request = self._idle.get()
        try:
            request = self._current(request)
            request.infer.infer(self._inputs(views))
            # Copies: the next run on this stream writes where these lie.
            return NetworkAnswer(
                *(
                    np.array(request.infer.get_tensor(spec.name).data)
                    for spec in (MAIN_OUT, AUX_OUT, LOGITS, NOT_WBC, FEATURES, CAMS)
                )
            )
        except RuntimeError:
            with self._compiling:  # a stream in which a run failed may fail on every run after it
                if self._compiled is request.of:
                    self._compiled = None
            raise
        finally:
            self._idle.put(request)

    def _inputs(self, views: ViewBatch) -> dict[str, NDArray[Any]]:
        morphometry, head = views.morphometry, views.head
        if morphometry is None:
            morphometry = np.full((len(views), len(MEASURES)), UNKNOWN, np.float32)
        if head is None:
            head = np.zeros((len(views), self.features + 1, NUM_CLASSES), np.float32)
        return {
            IMAGES.name: views.images,
            GAIN.name: views.gain,
            MORPHOMETRY.name: morphometry,
            HEAD.name: head,
        }

    def _current(self, request: "_Request") -> "_Request":
        """The request; another one where the network was compiled anew since."""
        with self._compiling:
            if self._compiled is None:
                self._compiled = self._compile()
            return request if request.of is self._compiled else _Request(self._compiled)

    def warm_up(self) -> float:
        """Run one blank row on each stream, so that the first caller does not; return the seconds it took.

        Raises:
            ContractViolation: the answers are no probabilities.
            ModelServerUnavailable: the network fails.
        """
        blank: UInt8Array = np.full((1, IMAGE_SIZE, IMAGE_SIZE, 3), 128, dtype=np.uint8)
        views = [ViewBatch(blank, np.ones(1, dtype=np.float32))] * self.streams
        started_s = time.perf_counter()
        try:
            with ThreadPoolExecutor(self.streams) as threads:
                answers = list(threads.map(self.run, views))
        except RuntimeError as error:
            raise ModelServerUnavailable("the model fails on a blank image") from error
        for answer in answers:
            if not np.allclose(answer.main_out.sum(axis=1), 1.0, atol=1e-2):
                received = answer.main_out[0].tolist()
                raise ContractViolation(f"expected probabilities that sum to 1, received {received}")
        return time.perf_counter() - started_s


class _Request:
    """A place for one run at a time, and the compiled network that it belongs to."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self.of = compiled
        self.infer = compiled.create_infer_request()


class _Port(Protocol):
    """An input or output of a compiled model, as far as it is looked at here."""

    names: set[str]
    element_type: Any
    partial_shape: Any


def _check_contract(compiled: ov.CompiledModel) -> int:
    """Check inputs and outputs, and return the number of features."""
    signature = SIGNATURES[ROWS_SIGNATURE]
    for kind, specs, ports in (
        ("inputs", signature.inputs, compiled.inputs),
        ("outputs", signature.outputs, compiled.outputs),
    ):
        received = {name: _described(port) for port in ports for name in port.names}
        if not admitted(specs, received):
            expected = {spec.name: (spec.dtype, spec.shape) for spec in specs}
            raise ContractViolation(f"{kind} of {ROWS_SIGNATURE}: expected {expected}, received {received}")
    head_rows = compiled.input(HEAD.name).partial_shape[1]
    if head_rows.is_dynamic:
        raise ContractViolation(f"inputs of {ROWS_SIGNATURE}: expected a {HEAD.name} of one size")
    return int(head_rows.get_length()) - 1


def _described(port: _Port) -> tuple[str, tuple[int | None, ...]]:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return np.dtype(port.element_type.to_dtype()).name, shape

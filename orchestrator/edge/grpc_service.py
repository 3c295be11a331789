"""The gRPC edge: the methods of ``wbc.v1.Analyzer``, bound to the services that they speak to."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from orchestrator.analyse import Services, analyse
from orchestrator.client.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.deadline import deadline
from orchestrator.edge.admission import Admission, counted
from orchestrator.edge.analysis_route import Deadlines, within_deadline
from orchestrator.edge.differentials_api import BUSY_RETRY_S, OrderLimits
from orchestrator.edge.grpc_calls import Call, Method
from orchestrator.edge.grpc_differentials import differential_message, order_of
from orchestrator.edge.grpc_messages import analysis_message, model_description, options_of
from orchestrator.edge.grpc_problems import Refusal
from orchestrator.edge.grpc_stream import ImageStream, StreamCall, StreamLimits
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.needs import ANALYSE, ORDER, READ
from orchestrator.errors import (
    FieldProblem,
    ImageTooLarge,
    InvalidParameter,
    MalformedUpload,
    Overloaded,
    StoreOff,
    UploadTooLarge,
)
from orchestrator.request_context import current_request_id
from orchestrator.specimens import Specimens
from orchestrator.tracing import span

ANALYZE: Final = "grpc.Analyze"
ANALYZE_STREAM: Final = "grpc.AnalyzeStream"
"""Endpoints in the metrics; a stream is counted image by image."""

MAX_CORRELATION_BYTES: Final = 128


class GrpcService:
    """The methods. ``specimens`` is None where nothing is kept; ``leaving`` says that this process stops."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        deadlines: Deadlines,
        *,
        specimens: Specimens | None,
        order_limits: OrderLimits,
        stream_limits: StreamLimits,
        leaving: asyncio.Event,
    ) -> None:
        self._services = services
        self._admission = admission
        self._deadlines = deadlines
        self._specimens = specimens
        self._order_limits = order_limits
        self._stream_limits = stream_limits
        self._leaving = leaving
        self._streams = 0
        self._orders = 0
        begin_at_zero(services.profiles, (ANALYZE, ANALYZE_STREAM))

    def methods(self) -> list[Method[Any, Any]]:
        """All of them, for :meth:`~.grpc_calls.Calls.handlers`."""
        return [
            Method("Analyze", pb.AnalyzeRequest, ANALYSE, self.analyze),
            Method(
                "AnalyzeStream",
                pb.AnalyzeStreamRequest,
                ANALYSE,
                self.analyze_stream,
                receives_several=True,
                sends_several=True,
            ),
            Method(
                "CreateDifferential",
                pb.CreateDifferentialRequest,
                ORDER,
                self.create_differential,
                receives_several=True,
            ),
            Method("GetDifferential", pb.GetDifferentialRequest, READ, self.get_differential),
            Method("GetModel", pb.GetModelRequest, READ, self.get_model),
        ]

    async def analyze(self, call: Call[pb.AnalyzeRequest, pb.AnalyzeResponse]) -> pb.AnalyzeResponse:
        """Analyse one image. It is read before it has a place: who sends slowly holds none from others."""
        with counted(ANALYZE):
            async with self._bounded(call):
                self._admission.refuse_if_full()
                request = await call.receive_one()
                async with self._admission.admitted():
                    return pb.AnalyzeResponse(analysis=await self._analysed(request.image, request.options))

    async def analyze_stream(self, call: StreamCall) -> None:
        """Analyse images as they come, and answer each as soon as it is ready."""
        with self._place_for_a_stream():
            await ImageStream(call, self._stream_limits, self._leaving).run(self._outcome)

    async def create_differential(
        self, call: Call[pb.CreateDifferentialRequest, pb.CreateDifferentialResponse]
    ) -> pb.CreateDifferentialResponse:
        """Keep an order."""
        specimens, limits = self._kept(), self._order_limits
        left_s = call.remaining_s()
        time_s = limits.upload_timeout_s if left_s is None else min(limits.upload_timeout_s, left_s)
        with self._place_for_an_order(), deadline(time_s):
            async with within_deadline():
                first = await call.receive_one()
                if first.WhichOneof("part") != "order":
                    raise MalformedUpload("The first message must be the order.")
                order, key = order_of(first.order, self._services)
                images = await self._images(call, first.order.images)
            differential, created = await specimens.order(order, images, call.principal.name, key)
        return pb.CreateDifferentialResponse(
            differential=differential_message(differential, cells=False), created=created
        )

    async def get_differential(
        self, call: Call[pb.GetDifferentialRequest, pb.GetDifferentialResponse]
    ) -> pb.GetDifferentialResponse:
        """Give a differential as it is now."""
        specimens = self._kept()
        async with self._bounded(call):
            request = await call.receive_one()
            differential = await specimens.get(request.differential_id)
        cells = request.cells if request.HasField("cells") else True
        return pb.GetDifferentialResponse(differential=differential_message(differential, cells=cells))

    async def get_model(self, call: Call[pb.GetModelRequest, pb.GetModelResponse]) -> pb.GetModelResponse:
        """Describe what answers."""
        async with self._bounded(call):
            await call.receive_one()
            return model_description(await self._services.model_server.identity(), self._services)

    @asynccontextmanager
    async def _bounded(self, call: Call[Any, Any]) -> AsyncIterator[None]:
        """Within the caller's deadline, the service's default where he set none, and never over its limit."""
        left_s = call.remaining_s()
        time_s = self._deadlines.seconds(None if left_s is None else round(max(0.0, left_s) * 1000))
        with deadline(time_s):
            async with within_deadline():
                yield

    @asynccontextmanager
    async def _bounded_image(self, call: StreamCall) -> AsyncIterator[None]:
        """Within the service's default: the caller's deadline is that of all his images together."""
        left_s = call.remaining_s()
        default_s = self._deadlines.seconds(None)
        with deadline(default_s if left_s is None else min(default_s, left_s)):
            async with within_deadline():
                yield

    async def _analysed(self, image: bytes, chosen: pb.AnalysisOptions) -> pb.Analysis:
        options = options_of(chosen, self._services)
        analysis = await analyse(image, self._services, options, current_request_id())
        return analysis_message(analysis, options.drawing.colour_map)

    async def _outcome(self, request: pb.AnalyzeStreamRequest, call: StreamCall) -> pb.AnalyzeStreamResponse:
        """What becomes of one image of a stream: a result, or an error of its own."""
        if len(request.correlation_id.encode()) > MAX_CORRELATION_BYTES:
            what = f"expected at most {MAX_CORRELATION_BYTES} bytes"
            error: Exception = InvalidParameter(FieldProblem("correlation_id", what))
            return pb.AnalyzeStreamResponse(error=Refusal.of(error).message_for_a_stream())
        try:
            with span("image"), counted(ANALYZE_STREAM):
                async with self._bounded_image(call), self._admission.admitted():
                    analysis = await self._analysed(request.image, request.options)
        except Exception as error:
            refused = Refusal.of(error).message_for_a_stream()
            return pb.AnalyzeStreamResponse(correlation_id=request.correlation_id, error=refused)
        return pb.AnalyzeStreamResponse(correlation_id=request.correlation_id, analysis=analysis)

    async def _images(self, call: Call[pb.CreateDifferentialRequest, Any], announced: int) -> list[bytes]:
        """Exactly as many as were announced: a caller who goes away may seem to have sent all of them."""
        limits, images, total = self._order_limits, list[bytes](), 0
        max_bytes = self._services.decode_limits.max_bytes
        if announced > limits.max_files:
            raise UploadTooLarge(f"There are more than {limits.max_files} images.")
        while (part := await call.receive()) is not None:
            if part.WhichOneof("part") != "image":
                raise MalformedUpload("After the order every message must be an image.")
            if len(images) == announced:
                raise MalformedUpload(f"There are more than the {announced} images that were announced.")
            if len(part.image) > max_bytes:
                raise ImageTooLarge(f"An image is too large; at most {max_bytes} bytes are accepted.")
            total += len(part.image)
            if total > limits.max_total_bytes:
                raise UploadTooLarge(
                    f"The images together are too large; at most {limits.max_total_bytes} bytes are accepted."
                )
            images.append(part.image)
        if len(images) < announced:
            raise MalformedUpload(f"{announced} images were announced, and {len(images)} came.")
        return images

    def _kept(self) -> Specimens:
        if self._specimens is None:
            raise StoreOff("Differentials need a store: set WBC_STORE__URL.")
        return self._specimens

    @contextmanager
    def _place_for_a_stream(self) -> Iterator[None]:
        if self._streams >= self._stream_limits.max_streams:
            raise Overloaded(f"{self._streams} streams are open; no more are taken.", BUSY_RETRY_S)
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    @contextmanager
    def _place_for_an_order(self) -> Iterator[None]:
        if self._orders >= self._order_limits.max_orders:
            raise Overloaded(f"{self._orders} orders are being received; no more are taken.", BUSY_RETRY_S)
        self._orders += 1
        try:
            yield
        finally:
            self._orders -= 1

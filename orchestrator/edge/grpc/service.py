"""The gRPC edge: the methods of ``wbc.v1.Analyzer``, bound to the services that they speak to."""

import asyncio
from collections.abc import Collection
from typing import Any, Final, TypeVar

from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import Services
from orchestrator.common.deadline import deadline
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.needs import ANALYSE, ORDER, READ, REVIEW, SIGN
from orchestrator.edge.admission import Admission, Places, counted
from orchestrator.edge.grpc.adaptations import AdaptationCalls
from orchestrator.edge.grpc.calls import Call, Method
from orchestrator.edge.grpc.differentials import (
    differential_message,
    label_of,
    order_of,
    search_of,
    summary_message,
    text_of,
)
from orchestrator.edge.grpc.messages import (
    analysis_message,
    field_message,
    field_options_of,
    fields_of,
    model_description,
    options_of,
)
from orchestrator.edge.grpc.problems import Refusal
from orchestrator.edge.grpc.received_images import received_images
from orchestrator.edge.grpc.stream import ImageStream, StreamCall, StreamLimits
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.orders import OrderLimits, max_image_bytes
from orchestrator.edge.request_frame import Deadlines, RequestFrame, within, within_deadline
from orchestrator.errors import (
    FieldProblem,
    InvalidParameter,
    MalformedUpload,
    StoreOff,
)
from orchestrator.observability.tracing import span
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimens.service import Specimens

Asked = TypeVar("Asked")

ANALYZE: Final = "grpc.Analyze"
ANALYZE_STREAM: Final = "grpc.AnalyzeStream"
ANALYZE_FIELD: Final = "grpc.AnalyzeField"
"""Endpoints in the metrics; a stream is counted image by image."""

MAX_CORRELATION_BYTES: Final = 128


class GrpcService:
    """The methods. ``specimens`` is None where nothing is kept, ``adaptations`` where no heads are;
    ``leaving`` says that this process stops."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        deadlines: Deadlines,
        *,
        specimens: Specimens | None,
        adaptations: Adaptations | None,
        order_limits: OrderLimits,
        stream_limits: StreamLimits,
        leaving: asyncio.Event,
    ) -> None:
        self._services = services
        self._frame = RequestFrame(services, admission)
        self._deadlines = deadlines
        self._specimens = specimens
        self._order_limits = order_limits
        self._stream_limits = stream_limits
        self._leaving = leaving
        self._streams = Places(stream_limits.max_streams, "streams are open")
        self._orders = order_limits.places()
        max_bytes = services.decode_limits.max_bytes
        self._adaptations = AdaptationCalls(adaptations, deadlines, order_limits, max_bytes)
        begin_at_zero(services.profiles, (ANALYZE, ANALYZE_STREAM, ANALYZE_FIELD))

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
            Method("AnalyzeField", pb.AnalyzeFieldRequest, ANALYSE, self.analyze_field),
            Method(
                "CreateDifferential",
                pb.CreateDifferentialRequest,
                ORDER,
                self.create_differential,
                receives_several=True,
            ),
            Method("GetDifferential", pb.GetDifferentialRequest, READ, self.get_differential),
            Method("ListDifferentials", pb.ListDifferentialsRequest, READ, self.list_differentials),
            Method("DecideCell", pb.DecideCellRequest, REVIEW, self.decide_cell),
            Method("UndecideCell", pb.UndecideCellRequest, REVIEW, self.undecide_cell),
            Method(
                "CommentOnDifferential",
                pb.CommentOnDifferentialRequest,
                REVIEW,
                self.comment_on_differential,
            ),
            Method("AddToDifferential", pb.AddToDifferentialRequest, SIGN, self.add_to_differential),
            Method("SignDifferential", pb.SignDifferentialRequest, SIGN, self.sign_differential),
            *self._adaptations.methods(),
            Method("GetModel", pb.GetModelRequest, READ, self.get_model),
        ]

    async def analyze(self, call: Call[pb.AnalyzeRequest, pb.AnalyzeResponse]) -> pb.AnalyzeResponse:
        """Analyse one image. It is read before it has a place: who sends slowly holds none from others."""
        with counted(ANALYZE):

            async def read() -> pb.AnalyzeRequest:
                async with within_deadline():
                    return await call.receive_one()

            async with self._frame.begun(self._seconds(call), read, lambda sent: [sent.image]) as request:
                return pb.AnalyzeResponse(analysis=await self._analysed(request.image, request.options))

    async def analyze_stream(self, call: StreamCall) -> None:
        """Analyse images as they come, and answer each as soon as it is ready."""
        with self._streams.taken():
            await ImageStream(call, self._stream_limits, self._leaving).run(self._outcome)

    async def analyze_field(
        self, call: Call[pb.AnalyzeFieldRequest, pb.AnalyzeFieldResponse]
    ) -> pb.AnalyzeFieldResponse:
        """Find all white cells of a field; its message must not be larger than any other."""
        with counted(ANALYZE_FIELD):

            async def read() -> pb.AnalyzeFieldRequest:
                async with within_deadline():
                    return await call.receive_one()

            most = self._services.field_limits.max_pixels
            async with self._frame.begun(
                self._seconds(call), read, lambda sent: [sent.image], most
            ) as request:
                with fields_of("options"):
                    field = await self._frame.field_analysed(request.image, field_options_of(request.options))
                return pb.AnalyzeFieldResponse(field=field_message(field))

    async def create_differential(
        self, call: Call[pb.CreateDifferentialRequest, pb.CreateDifferentialResponse]
    ) -> pb.CreateDifferentialResponse:
        """Keep an order."""
        specimens, limits = self._kept(), self._order_limits
        left_s = call.remaining_s()
        time_s = limits.upload_timeout_s if left_s is None else min(limits.upload_timeout_s, left_s)
        with self._orders.taken(), deadline(time_s):
            async with within_deadline():
                first = await call.receive_one()
                if first.WhichOneof("part") != "order":
                    raise MalformedUpload("The first message must be the order.")
                order, key = order_of(first.order, self._services)
                images = await received_images(
                    call, first.order.images, limits, max_image_bytes(order.kind, self._services), _image_of
                )
            differential, created = await specimens.order(order, images, call.principal.name, key)
        return pb.CreateDifferentialResponse(
            differential=differential_message(differential, cells=False), created=created
        )

    async def get_differential(
        self, call: Call[pb.GetDifferentialRequest, pb.GetDifferentialResponse]
    ) -> pb.GetDifferentialResponse:
        """Give a differential as it is now."""
        specimens = self._kept()
        async with within(self._seconds(call)):
            request = await call.receive_one()
            differential = await specimens.get(request.differential_id)
        cells = request.cells if request.HasField("cells") else True
        return pb.GetDifferentialResponse(differential=differential_message(differential, cells=cells))

    async def list_differentials(
        self, call: Call[pb.ListDifferentialsRequest, pb.ListDifferentialsResponse]
    ) -> pb.ListDifferentialsResponse:
        """Give one page of the list."""
        specimens = self._kept()
        async with within(self._seconds(call)):
            request = await call.receive_one()
            size, search, sort = search_of(request, call.principal.name)
            found, following = await specimens.page(size, request.page_token or None, search, sort)
        return pb.ListDifferentialsResponse(
            differentials=map(summary_message, found),
            next_page_token=following or "",
            disclaimer=DISCLAIMER,
        )

    async def decide_cell(
        self, call: Call[pb.DecideCellRequest, pb.DecideCellResponse]
    ) -> pb.DecideCellResponse:
        """Accept or reclassify a cell."""
        specimens = self._kept()
        request = await self._small(call)
        differential = await specimens.decide(
            request.differential_id,
            request.cell_id,
            label_of(request),
            call.principal.name,
            _seen(request.etag),
        )
        return pb.DecideCellResponse(differential=differential_message(differential, cells=True))

    async def undecide_cell(
        self, call: Call[pb.UndecideCellRequest, pb.UndecideCellResponse]
    ) -> pb.UndecideCellResponse:
        """Take a decision back."""
        specimens = self._kept()
        request = await self._small(call)
        differential = await specimens.undecide(
            request.differential_id, request.cell_id, call.principal.name, _seen(request.etag)
        )
        return pb.UndecideCellResponse(differential=differential_message(differential, cells=True))

    async def comment_on_differential(
        self, call: Call[pb.CommentOnDifferentialRequest, pb.CommentOnDifferentialResponse]
    ) -> pb.CommentOnDifferentialResponse:
        """Keep a comment."""
        specimens = self._kept()
        request = await self._small(call)
        differential = await specimens.comment(
            request.differential_id,
            text_of(request),
            call.principal.name,
            request.cell_id or None,
            _seen(request.etag),
        )
        return pb.CommentOnDifferentialResponse(differential=differential_message(differential, cells=True))

    async def add_to_differential(
        self, call: Call[pb.AddToDifferentialRequest, pb.AddToDifferentialResponse]
    ) -> pb.AddToDifferentialResponse:
        """Keep an addendum."""
        specimens = self._kept()
        request = await self._small(call)
        differential = await specimens.add(
            request.differential_id, text_of(request), call.principal.name, _seen(request.etag)
        )
        return pb.AddToDifferentialResponse(differential=differential_message(differential, cells=True))

    async def sign_differential(
        self, call: Call[pb.SignDifferentialRequest, pb.SignDifferentialResponse]
    ) -> pb.SignDifferentialResponse:
        """Close a differential."""
        specimens = self._kept()
        request = await self._small(call)
        differential = await specimens.sign(request.differential_id, call.principal.name, _seen(request.etag))
        return pb.SignDifferentialResponse(differential=differential_message(differential, cells=True))

    async def get_model(self, call: Call[pb.GetModelRequest, pb.GetModelResponse]) -> pb.GetModelResponse:
        """Describe what answers."""
        async with within(self._seconds(call)):
            await call.receive_one()
            return model_description(await self._services.model_server.identity(), self._services)

    async def _small(self, call: Call[Asked, Any]) -> Asked:
        """The one message of a call that changes something; what is begun then is not broken off."""
        async with within(self._seconds(call)):
            return await call.receive_one()

    def _seconds(self, call: Call[Any, Any]) -> float:
        """What the caller allows, the service's default where they do not say, and never over its limit."""
        left_s = call.remaining_s()
        return self._deadlines.seconds(None if left_s is None else round(max(0.0, left_s) * 1000))

    def _seconds_of_an_image(self, call: StreamCall) -> float:
        """The service's default: the caller's deadline is that of all their images together."""
        left_s, default_s = call.remaining_s(), self._deadlines.seconds(None)
        return default_s if left_s is None else min(default_s, left_s)

    async def _analysed(self, image: bytes, chosen: pb.AnalysisOptions) -> pb.Analysis:
        with fields_of("options"):
            options = options_of(chosen)
            analysis = await self._frame.analysed(image, options)
        return analysis_message(analysis)

    async def _outcome(self, request: pb.AnalyzeStreamRequest, call: StreamCall) -> pb.AnalyzeStreamResponse:
        """What becomes of one image of a stream: a result, or an error of its own."""
        if len(request.correlation_id.encode()) > MAX_CORRELATION_BYTES:
            what = f"expected at most {MAX_CORRELATION_BYTES} bytes"
            error: Exception = InvalidParameter(FieldProblem("correlation_id", what))
            return pb.AnalyzeStreamResponse(error=Refusal.of(error).message_for_a_stream())
        try:
            with span("image"), counted(ANALYZE_STREAM):
                async with self._frame.begun(
                    self._seconds_of_an_image(call), _nothing, lambda _: [request.image]
                ):
                    analysis = await self._analysed(request.image, request.options)
        except Exception as error:
            refused = Refusal.of(error).message_for_a_stream()
            return pb.AnalyzeStreamResponse(correlation_id=request.correlation_id, error=refused)
        return pb.AnalyzeStreamResponse(correlation_id=request.correlation_id, analysis=analysis)

    def _kept(self) -> Specimens:
        if self._specimens is None:
            raise StoreOff("Differentials need a store: set WBC_STORE__URL.")
        return self._specimens


def _image_of(part: pb.CreateDifferentialRequest) -> bytes:
    return part.image


def _seen(etag: str) -> Collection[str] | None:
    return [etag] if etag else None


async def _nothing() -> None:
    """An image of a stream is read already."""

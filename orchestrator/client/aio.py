"""The client for programs on an event loop; ``python -m tests.sync_client`` makes client.py of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from ..protos.wbc.v1 import wbc_pb2 as pb
from ..protos.wbc.v1.wbc_pb2_grpc import AnalyzerStub
from .adaptations import (
    LEARNING_TIMEOUT_S,
    LabelledImage,
    LearntHead,
    SiteHeads,
    SuggestedCells,
    learning_messages,
    suggestion_messages,
)
from .connection import Connection, pause_s
from .differentials import EVERYTHING, Differential, DifferentialPage, Search
from .errors import AnalyzerError
from .feeder_aio import Feeder
from .fields import DEFAULT_FIELD_OPTIONS, FieldAnalysis, FieldOptions
from .messages import ANALYSIS_TIMEOUT_S, ORDER_TIMEOUT_S, WINDOW, new_key, order_messages, ordered
from .options import DEFAULT_OPTIONS, AnalysisOptions, SpecimenOrder
from .results import Analysis, Key, ModelDescription, StreamResult
from .words import said

T = TypeVar("T")


class AsyncClient:
    """Asks a service, on the event loop that runs when it is made. Every method raises
    :class:`~.errors.AnalyzerError`.

    ::

        async with AsyncClient(Connection("localhost:9000")) as client:
            analysis = await client.analyze(Path("cell.jpg").read_bytes())
            print(analysis.class_name)
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        options, tls = connection.options(), connection.tls
        if tls is None:
            self._channel = grpc.aio.insecure_channel(connection.target, options)
        else:
            self._channel = grpc.aio.secure_channel(connection.target, tls.credentials(), options)
        self._stub: Any = AnalyzerStub(self._channel)  # type: ignore[no-untyped-call]  # generated

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are broken off."""
        await self._channel.close()

    async def analyze(
        self,
        image: bytes,
        options: AnalysisOptions = DEFAULT_OPTIONS,
        *,
        timeout_s: float | None = ANALYSIS_TIMEOUT_S,
        request_id: str | None = None,
    ) -> Analysis:
        """Analyse one image: the bytes of a JPEG, PNG, BMP, TIFF, WebP or DICOM file."""
        request = pb.AnalyzeRequest(image=image, options=options.message())
        metadata = self._connection.metadata(request_id)
        response = await _called(lambda: self._stub.Analyze(request, timeout=timeout_s, metadata=metadata))
        return Analysis.of(response.analysis)

    async def analyze_stream(
        self,
        images: Iterable[tuple[Key, bytes]] | AsyncIterable[tuple[Key, bytes]],
        options: AnalysisOptions = DEFAULT_OPTIONS,
        *,
        window: int = WINDOW,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[StreamResult[Key], None]:
        """Analyse many images, each under a key of the caller's, which stays here; answers as they are ready.

        ``images`` is read only ``window`` images ahead of the answers.
        Where the service goes away, what has no answer is sent again.
        """
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        feeder = Feeder(images, options.message(), window)
        attempt = 0
        try:
            while True:
                left_s = None if ends_s is None else max(0.0, ends_s - time.monotonic())
                metadata = self._connection.metadata()
                call = self._stub.AnalyzeStream(feeder.requests(), timeout=left_s, metadata=metadata)
                try:
                    async for response in call:
                        if (result := await feeder.answered(response)) is not None:
                            attempt = 0
                            yield result
                    break
                except grpc.RpcError as error:
                    attempt += 1
                    if not self._connection.repeats(error, attempt):
                        raise AnalyzerError.of_call(error) from error
                finally:
                    call.cancel()
                    await feeder.begin_again()
                await asyncio.sleep(pause_s(attempt))
            await feeder.check()
        finally:
            await feeder.close()

    async def analyze_field(
        self,
        image: bytes,
        options: FieldOptions = DEFAULT_FIELD_OPTIONS,
        *,
        timeout_s: float | None = ANALYSIS_TIMEOUT_S,
        request_id: str | None = None,
    ) -> FieldAnalysis:
        """Find and analyse every white cell of one field."""
        request = pb.AnalyzeFieldRequest(image=image, options=options.message())
        metadata = self._connection.metadata(request_id)
        response = await _called(
            lambda: self._stub.AnalyzeField(request, timeout=timeout_s, metadata=metadata)
        )
        return FieldAnalysis.of(response.field)

    async def create_differential(
        self,
        order: SpecimenOrder,
        images: Sequence[bytes],
        *,
        idempotency_key: str | None = None,
        timeout_s: float = ORDER_TIMEOUT_S,
    ) -> tuple[Differential, bool]:
        """Order the differential of one specimen.

        Also whether the order was new, which it is not where the same was sent before under this key. Where
        none is given the client makes one, for its own repetitions.
        """
        key = idempotency_key or new_key()
        metadata = self._connection.metadata()
        ends_s = time.monotonic() + timeout_s
        attempt = 0
        while True:
            left_s = max(0.0, ends_s - time.monotonic())
            messages = order_messages(order, images, key)
            try:
                return ordered(
                    await self._stub.CreateDifferential(messages, timeout=left_s, metadata=metadata)
                )
            except grpc.RpcError as error:
                attempt += 1
                if (
                    error.code() is not grpc.StatusCode.UNAVAILABLE
                    or attempt >= self._connection.max_attempts
                ):
                    raise AnalyzerError.of_call(error) from error
            await asyncio.sleep(pause_s(attempt))

    async def get_differential(
        self, differential_id: str, *, cells: bool = True, timeout_s: float = ANALYSIS_TIMEOUT_S
    ) -> Differential:
        """A differential as it is now."""
        request = pb.GetDifferentialRequest(differential_id=differential_id, cells=cells)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.GetDifferential(request, timeout=timeout_s, metadata=metadata)
        )
        return Differential.of(response.differential)

    async def wait_for_differential(
        self, differential_id: str, *, timeout_s: float, poll_s: float = 1.0
    ) -> Differential:
        """A differential once no cell is to be analysed any more; after ``timeout_s``, as it is then."""
        ends_s = time.monotonic() + timeout_s
        while not (found := await self.get_differential(differential_id)).ended and time.monotonic() < ends_s:
            await asyncio.sleep(poll_s)
        return found

    async def list_differentials(
        self,
        search: Search = EVERYTHING,
        *,
        page_size: int = 20,
        page_token: str = "",
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> DifferentialPage:
        """A page of the differentials there are, the newest first."""
        request = search.message(page_size, page_token)
        metadata = self._connection.metadata()
        return DifferentialPage.of(
            await _called(lambda: self._stub.ListDifferentials(request, timeout=timeout_s, metadata=metadata))
        )

    async def decide_cell(
        self,
        differential_id: str,
        cell_id: str,
        label: str,
        *,
        etag: str | None = None,
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> Differential:
        """Say what a cell is; the differential that follows from it.

        ``etag`` is that of the cell or of the differential as it was seen. Where it is not so any more the
        error has the code ``ABORTED`` and the reason ``CHANGED_MEANWHILE``: read it again and decide anew.
        """
        request = pb.DecideCellRequest(
            differential_id=differential_id,
            cell_id=cell_id,
            **said(label),
            etag=etag or "",
        )
        metadata = self._connection.metadata()
        response = await _called(lambda: self._stub.DecideCell(request, timeout=timeout_s, metadata=metadata))
        return Differential.of(response.differential)

    async def undecide_cell(
        self,
        differential_id: str,
        cell_id: str,
        *,
        etag: str | None = None,
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> Differential:
        """Take a decision back; ``etag`` as of :meth:`decide_cell`."""
        request = pb.UndecideCellRequest(differential_id=differential_id, cell_id=cell_id, etag=etag or "")
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.UndecideCell(request, timeout=timeout_s, metadata=metadata)
        )
        return Differential.of(response.differential)

    async def comment_on_differential(
        self,
        differential_id: str,
        text: str,
        cell_id: str | None = None,
        *,
        etag: str | None = None,
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> Differential:
        """Write something about the specimen, or about a cell; ``etag`` as of :meth:`decide_cell`."""
        request = pb.CommentOnDifferentialRequest(
            differential_id=differential_id, cell_id=cell_id or "", text=text, etag=etag or ""
        )
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.CommentOnDifferential(request, timeout=timeout_s, metadata=metadata)
        )
        return Differential.of(response.differential)

    async def add_to_differential(
        self,
        differential_id: str,
        text: str,
        *,
        etag: str | None = None,
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> Differential:
        """Add to a signed differential, which stays as it is; ``etag`` as of :meth:`sign_differential`."""
        request = pb.AddToDifferentialRequest(differential_id=differential_id, text=text, etag=etag or "")
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.AddToDifferential(request, timeout=timeout_s, metadata=metadata)
        )
        return Differential.of(response.differential)

    async def sign_differential(
        self, differential_id: str, *, etag: str | None = None, timeout_s: float = ANALYSIS_TIMEOUT_S
    ) -> Differential:
        """Close a differential; ``etag`` is that of the differential as it was seen."""
        request = pb.SignDifferentialRequest(differential_id=differential_id, etag=etag or "")
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.SignDifferential(request, timeout=timeout_s, metadata=metadata)
        )
        return Differential.of(response.differential)

    async def learn_adaptation(
        self,
        profile: str,
        images: Sequence[LabelledImage] = (),
        *,
        signed: Sequence[str] = (),
        hold_out: Sequence[str] = (),
        cells_of: int | None = None,
        timeout_s: float = LEARNING_TIMEOUT_S,
    ) -> LearntHead:
        """Learn a head for a microscope from labelled images, or from ``signed`` differentials whose images
        were kept; ``hold_out`` are others, which are scored and never learnt from, ``cells_of`` is the number
        of a head whose kept cells are learnt from, too. The head stays off."""
        metadata = self._connection.metadata()
        messages = learning_messages(profile, images, signed, hold_out, cells_of)
        return LearntHead.of(
            await _called(lambda: self._stub.LearnAdaptation(messages, timeout=timeout_s, metadata=metadata))
        )

    async def suggest_cells(
        self,
        profile: str,
        images: Sequence[LabelledImage],
        *,
        wanted: int = 20,
        timeout_s: float = LEARNING_TIMEOUT_S,
    ) -> SuggestedCells:
        """Which cells to label next, of those without a label; those with one say what is there already."""
        metadata = self._connection.metadata()
        messages = suggestion_messages(profile, images, wanted)
        return SuggestedCells.of(
            await _called(lambda: self._stub.SuggestCells(messages, timeout=timeout_s, metadata=metadata))
        )

    async def list_adaptations(self, profile: str, *, timeout_s: float = ANALYSIS_TIMEOUT_S) -> SiteHeads:
        """The heads of a microscope, the one that answers, and who did what."""
        request = pb.ListAdaptationsRequest(profile=profile)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.ListAdaptations(request, timeout=timeout_s, metadata=metadata)
        )
        return SiteHeads.of(response.heads)

    async def activate_adaptation(
        self, profile: str, head: int, *, reason: str = "", timeout_s: float = ANALYSIS_TIMEOUT_S
    ) -> SiteHeads:
        """Let the head of this number answer; takes a ``reason`` where it was not shown to be better."""
        request = pb.ActivateAdaptationRequest(profile=profile, number=head, reason=reason)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.ActivateAdaptation(request, timeout=timeout_s, metadata=metadata)
        )
        return SiteHeads.of(response.heads)

    async def canary_adaptation(
        self,
        profile: str,
        head: int | None,
        *,
        share: float = 0.1,
        reason: str = "",
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> SiteHeads:
        """Let the head of this number answer for a share, at most 0.5, in place of the one that is on, or
        none."""
        request = pb.CanaryAdaptationRequest(profile=profile, number=head, share=share, reason=reason)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.CanaryAdaptation(request, timeout=timeout_s, metadata=metadata)
        )
        return SiteHeads.of(response.heads)

    async def shadow_adaptation(
        self,
        profile: str,
        head: int | None,
        *,
        reason: str = "",
        timeout_s: float = ANALYSIS_TIMEOUT_S,
    ) -> SiteHeads:
        """Let the head of this number run beside the one that answers, or none; it answers nobody."""
        request = pb.ShadowAdaptationRequest(profile=profile, number=head, reason=reason)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.ShadowAdaptation(request, timeout=timeout_s, metadata=metadata)
        )
        return SiteHeads.of(response.heads)

    async def roll_back_adaptation(
        self, profile: str, *, reason: str = "", timeout_s: float = ANALYSIS_TIMEOUT_S
    ) -> SiteHeads:
        """Let the head answer that did so before, or the model's own. A canary ends."""
        request = pb.RollBackAdaptationRequest(profile=profile, reason=reason)
        metadata = self._connection.metadata()
        response = await _called(
            lambda: self._stub.RollBackAdaptation(request, timeout=timeout_s, metadata=metadata)
        )
        return SiteHeads.of(response.heads)

    async def model(self, *, timeout_s: float = ANALYSIS_TIMEOUT_S) -> ModelDescription:
        """What answers, and which device profiles there are."""
        metadata = self._connection.metadata()
        request = pb.GetModelRequest()
        response = await _called(lambda: self._stub.GetModel(request, timeout=timeout_s, metadata=metadata))
        return ModelDescription.of(response)


async def _called(call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except grpc.RpcError as error:
        raise AnalyzerError.of_call(error) from error

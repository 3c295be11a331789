"""A microscope's own heads as calls of ``wbc.v1``: projections of the documents that HTTP answers."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from orchestrator.adaptation.cells import LabelledImage
from orchestrator.adaptation.service import Adaptations
from orchestrator.common.deadline import deadline
from orchestrator.documents.adaptation import HeadList, LearntHead, SuggestedCells
from orchestrator.edge.access.needs import READ, REVIEW, SIGN
from orchestrator.edge.grpc.calls import Call, Method
from orchestrator.edge.grpc.projection import message_of
from orchestrator.edge.grpc.received_images import received_images
from orchestrator.edge.grpc.words import LABELS
from orchestrator.edge.orders import MAX_REASON, MAX_SIGNED, SPECIMEN_NAME, OrderLimits, wanted_of
from orchestrator.edge.request_frame import Deadlines, within, within_deadline
from orchestrator.errors import FieldProblem, HeadsOff, InvalidParameter, MalformedUpload
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.site_head.registry import MAX_SHARE, USUAL_SHARE

Asked = TypeVar("Asked")
Part = TypeVar("Part")


class AdaptationCalls:
    """The methods; ``adaptations`` is None where no heads are kept."""

    def __init__(
        self,
        adaptations: Adaptations | None,
        deadlines: Deadlines,
        limits: OrderLimits,
        max_image_bytes: int,
    ) -> None:
        self._adaptations = adaptations
        self._deadlines = deadlines
        self._limits = limits
        self._max_image_bytes = max_image_bytes
        self._places = limits.adaptations()

    def methods(self) -> list[Method[Any, Any]]:
        """All of them."""
        return [
            Method("LearnAdaptation", pb.LearnAdaptationRequest, REVIEW, self.learn, receives_several=True),
            Method("SuggestCells", pb.SuggestCellsRequest, REVIEW, self.suggest, receives_several=True),
            Method("ListAdaptations", pb.ListAdaptationsRequest, READ, self.heads),
            Method("ActivateAdaptation", pb.ActivateAdaptationRequest, SIGN, self.activate),
            Method("CanaryAdaptation", pb.CanaryAdaptationRequest, SIGN, self.canary),
            Method("ShadowAdaptation", pb.ShadowAdaptationRequest, SIGN, self.shadow),
            Method("RollBackAdaptation", pb.RollBackAdaptationRequest, SIGN, self.roll_back),
        ]

    async def learn(
        self, call: Call[pb.LearnAdaptationRequest, pb.LearnAdaptationResponse]
    ) -> pb.LearnAdaptationResponse:
        """Learn a head from labelled images, and judge it on specimens left out."""
        kept = self._kept()
        with self._places.taken():
            asked, images = await self._received(
                call, "adaptation", lambda first: first.adaptation, lambda part: part.image
            )
            if max(len(asked.signed), len(asked.hold_out)) > MAX_SIGNED:
                raise InvalidParameter(
                    FieldProblem("adaptation", f"expected at most {MAX_SIGNED} differentials")
                )
            if any(image.class_index is None for image, _ in images):
                raise InvalidParameter(FieldProblem("image.label", "expected what the cell is"))
            learning = await kept.learn(
                asked.profile or None,
                call.principal.name,
                [*(image for image, is_held in images if not is_held), *await kept.signed(asked.signed)],
                [*(image for image, is_held in images if is_held), *await kept.signed(asked.hold_out)],
                cells_of=asked.cells_of if asked.HasField("cells_of") else None,
            )
        return message_of(LearntHead.of(learning), pb.LearnAdaptationResponse)

    async def suggest(
        self, call: Call[pb.SuggestCellsRequest, pb.SuggestCellsResponse]
    ) -> pb.SuggestCellsResponse:
        """Say which cells to label next."""
        kept = self._kept()
        with self._places.taken():
            asked, images = await self._received(
                call, "suggestion", lambda first: first.suggestion, lambda part: part.image
            )
            wanted = wanted_of(str(asked.wanted or ""))
            cells, failed = await kept.suggest(asked.profile or None, [image for image, _ in images], wanted)
        return message_of(SuggestedCells.of(cells, failed), pb.SuggestCellsResponse)

    async def heads(
        self, call: Call[pb.ListAdaptationsRequest, pb.ListAdaptationsResponse]
    ) -> pb.ListAdaptationsResponse:
        """Give the heads of a microscope."""
        kept, request = self._kept(), await self._small(call)
        return pb.ListAdaptationsResponse(heads=await _told(kept, request.profile))

    async def activate(
        self, call: Call[pb.ActivateAdaptationRequest, pb.ActivateAdaptationResponse]
    ) -> pb.ActivateAdaptationResponse:
        """Let a head answer."""
        kept, request = self._kept(), await self._small(call)
        reason = _reason(request.reason)
        await kept.switch_on(request.profile or None, request.number, call.principal.name, reason)
        return pb.ActivateAdaptationResponse(heads=await _told(kept, request.profile))

    async def canary(
        self, call: Call[pb.CanaryAdaptationRequest, pb.CanaryAdaptationResponse]
    ) -> pb.CanaryAdaptationResponse:
        """Let a head answer for a share, or none."""
        kept, request = self._kept(), await self._small(call)
        number = request.number if request.HasField("number") else None
        share = request.share if request.HasField("share") else USUAL_SHARE
        if not 0 < share <= MAX_SHARE:
            raise InvalidParameter(FieldProblem("share", f"expected more than 0 and at most {MAX_SHARE}"))
        reason = _reason(request.reason)
        await kept.try_out(request.profile or None, number, call.principal.name, share, reason)
        return pb.CanaryAdaptationResponse(heads=await _told(kept, request.profile))

    async def shadow(
        self, call: Call[pb.ShadowAdaptationRequest, pb.ShadowAdaptationResponse]
    ) -> pb.ShadowAdaptationResponse:
        """Let a head run beside the one that answers, or none."""
        kept, request = self._kept(), await self._small(call)
        number = request.number if request.HasField("number") else None
        reason = _reason(request.reason)
        await kept.run_in_shadow(request.profile or None, number, call.principal.name, reason)
        return pb.ShadowAdaptationResponse(heads=await _told(kept, request.profile))

    async def roll_back(
        self, call: Call[pb.RollBackAdaptationRequest, pb.RollBackAdaptationResponse]
    ) -> pb.RollBackAdaptationResponse:
        """Let the head before answer."""
        kept, request = self._kept(), await self._small(call)
        await kept.roll_back(request.profile or None, call.principal.name, _reason(request.reason))
        return pb.RollBackAdaptationResponse(heads=await _told(kept, request.profile))

    async def _received(
        self,
        call: Call[Part, Any],
        first_part: str,
        said: Callable[[Part], Any],
        image_of: Callable[[Part], pb.LabelledImage],
    ) -> tuple[Any, list[tuple[LabelledImage, bool]]]:
        """What is asked for, and the images with whether each is held out."""
        left_s, most_s = call.remaining_s(), self._limits.upload_timeout_s
        labels: list[pb.LabelledImage] = []

        def noted(part: Part) -> bytes:
            message = image_of(part)
            labels.append(pb.LabelledImage(label=message.label, specimen=message.specimen))
            labels[-1].hold_out = message.hold_out
            return message.image

        with deadline(most_s if left_s is None else min(most_s, left_s)):
            async with within_deadline():
                first = await call.receive_one()
                if first.WhichOneof("part") != first_part:  # type: ignore[attr-defined]  # of protobuf
                    raise MalformedUpload(f"The first message must be the {first_part}.")
                asked = said(first)
                files = await received_images(call, asked.images, self._limits, self._max_image_bytes, noted)
        return asked, [
            (_image(files, number, message), message.hold_out) for number, message in enumerate(labels)
        ]

    async def _small(self, call: Call[Asked, Any]) -> Asked:
        left_s = call.remaining_s()
        async with within(
            self._deadlines.seconds(None if left_s is None else round(max(0.0, left_s) * 1000))
        ):
            return await call.receive_one()

    def _kept(self) -> Adaptations:
        if self._adaptations is None:
            raise HeadsOff
        return self._adaptations


async def _told(kept: Adaptations, profile: str) -> pb.SiteHeads:
    return message_of(HeadList.of(await kept.heads(profile or None)), pb.SiteHeads)


def _image(files: Sequence[bytes], number: int, message: pb.LabelledImage) -> LabelledImage:
    label = LABELS.word(message.label, "image.label")
    if label is not None and label not in CLASS_NAMES:
        raise InvalidParameter(FieldProblem("image.label", "expected one of the five classes", CLASS_NAMES))
    if message.specimen and SPECIMEN_NAME.fullmatch(message.specimen) is None:
        raise InvalidParameter(FieldProblem("image.specimen", "expected a name of at most 64 characters"))
    return LabelledImage(
        partial(asyncio.to_thread, files.__getitem__, number),
        None if label is None else CLASS_NAMES.index(label),
        message.specimen or None,
        str(number + 1),
    )


def _reason(text: str) -> str:
    if len(text) > MAX_REASON:
        raise InvalidParameter(FieldProblem("reason", f"expected at most {MAX_REASON} characters"))
    return text

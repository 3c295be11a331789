"""What a site does with the heads of its microscopes: it learns them, switches them on, goes back.

The one way to do it, for every edge and for the command.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np

from orchestrator.adaptation.cells import (
    FailedImage,
    LabelledCell,
    LabelledImage,
    SeenCell,
    labelled,
    look_at_all,
    signed_images,
)
from orchestrator.adaptation.kept_cells import KeptCells
from orchestrator.adaptation.learning import adapt, examples_of, refusal
from orchestrator.analyse import Services
from orchestrator.errors import AdaptationRefused, ConfigurationError, ModelServerError, UnknownHead
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import Profile
from orchestrator.site_head.choosing import suggest
from orchestrator.site_head.examples import require_number
from orchestrator.site_head.head_file import SUFFIX as HEAD_SUFFIX
from orchestrator.site_head.head_file import SiteHead
from orchestrator.site_head.learning import applied
from orchestrator.site_head.registry import Entry, HeadRegistry, foreign
from orchestrator.site_head.trust import Trust
from orchestrator.store.base import Store


@dataclass(frozen=True, slots=True)
class Learning:
    """What came of labelled images: the head as it was kept, what the trust view says of it, the images that
    nothing could be learnt from, and whether the others' cells are kept."""

    head: SiteHead
    trust: Trust
    failed: tuple[FailedImage, ...]
    cells_kept: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A cell to label next: its place among the images that were given, and the class (of ``CLASS_NAMES``)
    that it is taken for now."""

    place: int
    class_index: int


@dataclass(frozen=True, slots=True)
class Shadow:
    """The head that runs beside the one that answers, why it is not compared (None: it is), and the images
    that this process compared it on, by the class that was answered and the one it gives (of
    ``CLASS_NAMES``)."""

    head: SiteHead
    unused: str | None
    images: Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """What a head (None: the model's own) answered beside a canary in this process: images, and those of them
    that were for review by what it said."""

    head: SiteHead | None
    images: int
    for_review: int


@dataclass(frozen=True, slots=True)
class CanaryOfProfile:
    """The head that answers for a share in place of the one that is on, why it does not (None: it does), and
    what both answered."""

    head: SiteHead
    share: float
    unused: str | None
    answers: tuple[HeadAnswers, HeadAnswers]


@dataclass(frozen=True, slots=True)
class HeadsOfProfile:
    """The heads of a profile in the order of their numbers, the one that is on (None: the model's own), why
    one that is switched on does not answer, the canary, the one in the shadow, what is wrong with the heads
    that are left out, who did what, and the names of those heads whose cells are kept."""

    profile: str
    active: SiteHead | None
    unused: str | None
    canary: CanaryOfProfile | None
    shadow: Shadow | None
    versions: tuple[SiteHead, ...]
    broken: tuple[str, ...]
    trail: tuple[Entry, ...]
    cells_kept: frozenset[str]


class Adaptations:
    """The use cases, bound to what sees cells, the site's heads, the store of signed differentials where
    there is one, and the cells that heads were learnt from where the site has a key for them. All raise
    :class:`~orchestrator.errors.UnknownProfile` where there is no such profile, and
    :class:`~orchestrator.errors.AdaptationRefused`, which says why, where something may not be done."""

    def __init__(
        self,
        services: Services,
        registry: HeadRegistry,
        store: Store | None = None,
        *,
        kept: KeptCells | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._services = services
        self._registry = registry
        self._store = store
        self._kept = kept
        self._clock = clock

    async def learn(
        self,
        profile: str | None,
        who: str,
        images: Sequence[LabelledImage],
        hold_out: Sequence[LabelledImage] = (),
        *,
        cells_of: int | None = None,
        looked: Callable[[], None] = lambda: None,
    ) -> Learning:
        """Learn a head, judge it on what it was not learnt from, and keep it as a version, which stays off.
        ``cells_of`` is the number of a version whose kept cells are learnt from, too; of an image that is
        given again, what is said now counts.

        Raises also as :func:`orchestrator.analyse.analyse`, but for what is wrong with one image.
        """
        chosen = self._own(profile)
        with _refusals():  # before the work
            for given in (images, hold_out) if hold_out else (images,):
                require_number(len(given))
            await asyncio.to_thread(self._registry.require_writable)
            before = [] if cells_of is None else await self._cells_of(chosen, cells_of)
        seen = await look_at_all([*images, *hold_out], self._services, chosen, looked)
        cells, failed = labelled(images, seen[: len(images)])
        again = {cell.seen.image_sha256 for cell in cells}
        cells += [cell for cell in before if cell.seen.image_sha256 not in again]
        held, not_held = labelled(hold_out, seen[len(images) :])
        with _refusals():
            made = await asyncio.to_thread(adapt, cells, chosen, who=who, now=self._clock(), hold_out=held)
            keep = None if self._kept is None else partial(self._kept.keep, cells)
            head = await asyncio.to_thread(self._registry.add, made.head, who, keep_cells=keep)
        return Learning(head, made.trust, (*failed, *not_held), keep is not None)

    async def verify(self, profile: str | None) -> tuple[str, ...]:
        """What does not hold of a profile's trail, of its heads and of the cells kept with them; as a list in
        words, and empty where all holds."""
        name = self._own(profile).name
        try:
            heads, broken = await asyncio.to_thread(self._registry.versions, name)
            added = await asyncio.to_thread(self._registry.added, name)
        except ConfigurationError as error:
            return (str(error),)
        troubles = list(broken)
        there = {f"{name}.{number}" for number in self._registry.numbers(name)}
        troubles += [f"{one}{HEAD_SUFFIX}: is not there" for one in added if one not in there]
        for head in heads:
            entry = added.get(head.name)
            if entry is None or entry.sha256 != head.sha256:
                troubles.append(f"{head.name}{HEAD_SUFFIX}: is not the head of the trail")
            elif entry.cells_sha256 is not None:
                try:
                    await asyncio.to_thread(self._cells_kept().of, head)
                except ConfigurationError as error:
                    troubles.append(str(error))
        return tuple(troubles)

    async def signed(self, ids: Sequence[str]) -> list[LabelledImage]:
        """What people decided in signed differentials; see
        :func:`~orchestrator.adaptation.cells.signed_images`."""
        return await signed_images(ids, self._store)

    async def suggest(
        self,
        profile: str | None,
        images: Sequence[LabelledImage],
        wanted: int,
        *,
        looked: Callable[[], None] = lambda: None,
    ) -> tuple[tuple[Suggestion, ...], tuple[FailedImage, ...]]:
        """Of the images without a label those to label next, at most ``wanted``, the first first; and the
        images that could not be looked at. Raises as :meth:`learn`."""
        chosen = self._own(profile)
        if taught := sum(image.class_index is not None for image in images):
            with _refusals():
                require_number(taught)
        seen = await look_at_all(images, self._services, chosen, looked)
        have, failed = labelled(images, seen)
        there = [
            (place, cell)
            for place, (image, cell) in enumerate(zip(images, seen, strict=True))
            if isinstance(cell, SeenCell) and image.class_index is None
        ]
        if not there:
            return (), tuple(failed)
        features = np.stack([cell.features.mean(axis=0) for _, cell in there])
        logits = np.stack([cell.logits.mean(axis=0) for _, cell in there]).astype(np.float64)
        head = self._services.profile(chosen.name).head
        if head is not None and head.belongs_to(there[0][1].model):
            logits = applied(features, logits, head.delta)
        with _refusals():
            examples = examples_of(have)[0] if have else None
        places = await asyncio.to_thread(
            suggest,
            features,
            logits,
            wanted,
            labelled=None if examples is None else examples.mean_features,
            counts=(0,) * len(CLASS_NAMES) if examples is None else examples.counts,
        )
        found = tuple(Suggestion(there[at][0], int(logits[at].argmax())) for at in places)
        return found, tuple(failed)

    async def heads(self, profile: str | None) -> HeadsOfProfile:
        """The heads of a profile."""
        chosen = self._own(profile)
        registry = self._registry
        with _refusals():
            active = await asyncio.to_thread(registry.active, chosen.name)
            tried = await asyncio.to_thread(registry.canary, chosen.name)
            beside = await asyncio.to_thread(registry.shadow, chosen.name)
            versions, broken = await asyncio.to_thread(registry.versions, chosen.name)
            trail = await asyncio.to_thread(registry.trail, chosen.name)
        kept = self._kept
        cells_kept = frozenset(
            entry.head
            for entry in trail
            if entry.head is not None and entry.cells_sha256 is not None and kept and kept.has(entry.head)
        )
        unused = None if active is None else await self._why_unused(active, chosen)
        answering = None if unused else active
        canary = None
        if tried is not None:
            why = await self._why_unused(tried.head, chosen)
            both = self._answers(tried.head, tried.head), self._answers(tried.head, answering)
            canary = CanaryOfProfile(tried.head, tried.share, why, both)
        shadow = None
        if beside is not None:
            why = await self._why_unused(beside, chosen)
            shadow = Shadow(beside, why, self._services.shadow_counts.of(beside, answering))
        return HeadsOfProfile(
            chosen.name, answering, unused, canary, shadow, versions, broken, trail, cells_kept
        )

    async def switch_on(
        self, profile: str | None, number: int | None, who: str, reason: str = ""
    ) -> SiteHead:
        """Let a head answer, the newest where ``number`` is None.

        Raises also :class:`~orchestrator.errors.UnknownHead`, and
        :class:`~orchestrator.errors.ModelServerUnavailable` where nobody knows which model would answer.
        """
        with _refusals():
            head = await asyncio.to_thread(self.head, profile, number)
            await self._require_fit(head, self._own(profile))
            return await asyncio.to_thread(self._registry.switch_on, head.name, who, reason)

    async def try_out(
        self, profile: str | None, number: int | None, who: str, share: float, reason: str = ""
    ) -> None:
        """Let a head answer for a share in place of the one that is on; none where ``number`` is None. Raises
        as :meth:`switch_on`."""
        with _refusals():
            if number is None:
                name = self._own(profile).name
                await asyncio.to_thread(self._registry.end_canary, name, who, reason)
                return
            head = await asyncio.to_thread(self.head, profile, number)
            await self._require_fit(head, self._own(profile))
            await asyncio.to_thread(self._registry.begin_canary, head.name, who, share, reason)

    async def run_in_shadow(
        self, profile: str | None, number: int | None, who: str, reason: str = ""
    ) -> None:
        """Let a head run beside the one that answers, and answer nobody; none where ``number`` is None.
        Raises as :meth:`switch_on`."""
        with _refusals():
            if number is None:
                name = self._own(profile).name
                await asyncio.to_thread(self._registry.end_shadow, name, who, reason)
                return
            head = await asyncio.to_thread(self.head, profile, number)
            await self._require_fit(head, self._own(profile))
            await asyncio.to_thread(self._registry.run_in_shadow, head.name, who, reason)

    async def roll_back(self, profile: str | None, who: str, reason: str = "") -> SiteHead | None:
        """Let the head answer that did so before the one that does; None: the model's own. A canary ends."""
        with _refusals():
            return await asyncio.to_thread(self._registry.roll_back, self._own(profile).name, who, reason)

    async def keep_foreign(self, profile: str, given: SiteHead, who: str, reason: str = "") -> SiteHead:
        """Keep another site's head as a version, which stays off."""
        chosen = self._own(profile)
        await self._require_fit(given, chosen)
        reason = reason or f"was {given.name} elsewhere"
        with _refusals():
            return self._registry.add(foreign(given, chosen.name), who, reason, "imported")

    async def _cells_of(self, profile: Profile, number: int) -> list[LabelledCell]:
        head = await asyncio.to_thread(self.head, profile.name, number)
        await self._require_fit(head, profile)
        return await asyncio.to_thread(self._cells_kept().of, head)

    def _cells_kept(self) -> KeptCells:
        if self._kept is None:
            raise ConfigurationError(
                "labelled cells are kept and read with WBC_STORE__ENCRYPTION_KEY alone: set it; `wbc store "
                "key` makes one"
            )
        return self._kept

    def head(self, profile: str | None, number: int | None = None) -> SiteHead:
        """A version of a profile, the newest where ``number`` is None. Raises as :meth:`switch_on`."""
        name = self._own(profile).name
        numbers = self._registry.numbers(name)
        if not numbers or number not in (None, *numbers):
            raise UnknownHead("The profile has no head of this number.")
        return self._registry.head(f"{name}.{numbers[-1] if number is None else number}")

    def _answers(self, canary: SiteHead, head: SiteHead | None) -> HeadAnswers:
        counted = self._services.canary_counts.of(canary, head)
        return HeadAnswers(head, sum(counted.values()), counted.get(True, 0))

    async def _require_fit(self, head: SiteHead, profile: Profile) -> None:
        why = refusal(head, profile, await self._services.model_server.identity())
        if why is not None:
            raise AdaptationRefused(why)

    async def _why_unused(self, head: SiteHead, profile: Profile) -> str | None:
        try:
            return refusal(head, profile, await self._services.model_server.identity())
        except ModelServerError as error:
            return f"which model answers is not known now: {error}"

    def _own(self, profile: str | None) -> Profile:
        """The profile without any head: what is learnt is learnt over the model's own."""
        return self._services.profiles[self._services.profile(profile).name]


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise AdaptationRefused(str(error)) from error

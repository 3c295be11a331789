"""The heads of a site: versions in a folder, and a trail of who made, switched on, rolled back, tried and
shadowed which, and why.

``PROFILE.NUMBER.head`` is a version, never changed; ``heads.jsonl`` the trail, a line for each act, each with
the hash of the one before: the last acts on a profile say which head is on and answers, which one is the
canary, that answers for a share in its place, and which one is in the shadow, that runs beside it and answers
nobody. A service looks at the trail once a second at most, when somebody asks.
"""

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, Literal, get_args

from orchestrator.common.on_trial import is_on_trial
from orchestrator.common.whole_file import FileState, locked, state_of
from orchestrator.errors import ConfigurationError
from orchestrator.site_head.head_file import HEAD_NAME, SUFFIX, SiteHead, made, read_head, write_head

TRAIL: Final = "heads.jsonl"
MAX_TRAIL_BYTES: Final = 2**24
MIN_REASON: Final = 10
CHECK_EVERY_S: Final = 1.0

MAX_SHARE: Final = 0.5
"""Of the answers of a profile that a canary gives; for more than that a head is switched on."""

USUAL_SHARE: Final = 0.1

Act = Literal[
    "made",
    "imported",
    "switched on",
    "rolled back",
    "canary begun",
    "canary ended",
    "shadowed",
    "shadow ended",
]
_ADDING: Final = ("made", "imported")
_SWITCHING: Final = ("switched on", "rolled back")
_ANSWERS_FROM_THEN: Final = (*_SWITCHING, "canary begun")
_WHERE_THERE: Final = ("share", "cells_sha256")
"""Not in a line that has none of them, as before there were such."""

_Named = tuple[str | None, str | None]
"""Name and SHA-256 of a head; None where the model's own answers."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: on a ``profile``, with a ``head`` (name; None where the model's own answers from then on) of
    this ``sha256``; ``share`` is what a canary answers from then on, ``cells_sha256`` is of the cells that a
    head was made from, where they are kept; both are None elsewhere."""

    at: str
    who: str
    act: Act
    profile: str
    head: str | None
    sha256: str | None
    reason: str
    share: float | None = None
    cells_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """A head that answers for a ``share`` of what a profile is asked, in (0, :data:`MAX_SHARE`], in place of
    the one that is on."""

    head: SiteHead
    share: float

    def takes(self, asked_for: str) -> bool:
        """Whether it answers for an image (its SHA-256, hex), or a specimen (its name): each time for the
        same ones, and for them too where the share grows."""
        return is_on_trial(f"{self.head.sha256}:{asked_for}", self.share)


@dataclass(frozen=True, slots=True)
class _Standing:
    """By profile, the acts that say which head is on, is the canary, and is in the shadow."""

    answering: dict[str, Entry] = field(default_factory=dict)
    canaries: dict[str, Entry] = field(default_factory=dict)
    shadows: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def after(cls, trail: Iterable[Entry]) -> "_Standing":
        """What the acts come to. A head that comes to answer, by being switched on, rolled back to or for a
        share, is in the shadow no more; and a canary ends where it is no more beside the head that was on."""
        standing = cls()
        for entry in trail:
            profile = entry.profile
            if entry.act in _SWITCHING:
                standing.answering[profile] = entry
                standing.canaries.pop(profile, None)
            elif entry.act == "canary begun":
                standing.canaries[profile] = entry
            elif entry.act == "canary ended":
                standing.canaries.pop(profile, None)
            elif entry.act == "shadowed":
                standing.shadows[profile] = entry
            elif entry.act == "shadow ended":
                standing.shadows.pop(profile, None)
            shadow = standing.shadows.get(profile)
            if entry.act in _ANSWERS_FROM_THEN and shadow is not None and shadow.head == entry.head:
                del standing.shadows[profile]
        return standing


class HeadRegistry:
    """For any thread; acts are for one process at a time.

    Args:
        folder: holds heads and trail.
        key: of the site; where given, a head or a trail without its MAC counts as none.
        max_trail_bytes: what would make the trail longer is refused.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the folder is none.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_trail_bytes: int = MAX_TRAIL_BYTES,
    ) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"expected a folder, received {folder.name!r}, which is none")
        self._folder = folder
        self._key = key
        self._clock = clock
        self._max_trail_bytes = max_trail_bytes
        self._lock = threading.Lock()
        self._look_at_s = float("-inf")
        self._state: FileState | None = None
        self._active: Mapping[str, SiteHead] = {}
        self._canaries: Mapping[str, Canary] = {}
        self._shadows: Mapping[str, SiteHead] = {}

    def active(self, profile: str) -> SiteHead | None:
        """The head that is on for a profile now; None where the model's own answers."""
        with self._refreshed():
            return self._active.get(profile)

    def canary(self, profile: str) -> Canary | None:
        """The head that answers for a share in its place; None where there is none."""
        with self._refreshed():
            return self._canaries.get(profile)

    def shadow(self, profile: str) -> SiteHead | None:
        """The head that runs beside it and answers nobody; None where there is none."""
        with self._refreshed():
            return self._shadows.get(profile)

    def versions(self, profile: str) -> tuple[tuple[SiteHead, ...], tuple[str, ...]]:
        """The heads of a profile that hold, by number, and what is wrong with the others."""
        heads, broken = list[SiteHead](), list[str]()
        for number in self.numbers(profile):
            try:
                heads.append(self.head(f"{profile}.{number}"))
            except ConfigurationError as error:
                broken.append(str(error))
        return tuple(heads), tuple(broken)

    def head(self, name: str) -> SiteHead:
        """A version.

        Raises :class:`~orchestrator.errors.ConfigurationError` where there is none that holds.
        """
        if HEAD_NAME.fullmatch(name) is None:
            raise ConfigurationError(f"expected a head such as my-scope.1, received {name!r}")
        head = read_head(self._folder / f"{name}{SUFFIX}", self._key)
        if head.name != name:
            raise ConfigurationError(f"{name}{SUFFIX}: holds the head {head.name}")
        return head

    def trail(self, profile: str | None = None) -> tuple[Entry, ...]:
        """What was done, of one profile or of all, in order.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the trail was changed.
        """
        entries, _ = self._read_trail()
        return tuple(entry for entry in entries if profile in (None, entry.profile))

    def add(
        self,
        head: SiteHead,
        who: str,
        reason: str = "",
        act: Act = "made",
        *,
        keep_cells: Callable[[SiteHead], str] | None = None,
    ) -> SiteHead:
        """Keep a head as the next version of its profile, which stays off; as it was kept. ``keep_cells``
        keeps the cells that it was learnt from, and gives their SHA-256 for the trail."""
        with self._held():
            number = max(self.numbers(head.profile), default=0) + 1
            fields = {slot: getattr(head, slot) for slot in head.__slots__ if slot != "sha256"}
            kept = made(**fields | {"name": f"{head.profile}.{number}"})
            path = self._folder / f"{kept.name}{SUFFIX}"
            write_head(path, kept, self._key)
            try:
                cells_sha256 = None if keep_cells is None else keep_cells(kept)
                self._append(who, act, kept.profile, _named(kept), reason, cells_sha256=cells_sha256)
            except (ConfigurationError, OSError):
                path.unlink(missing_ok=True)  # of which nobody could say where it came from
                raise
        return kept

    def cells_sha256(self, name: str) -> str | None:
        """SHA-256 of the cells that were kept with a version, hex; None where none were.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the trail was changed.
        """
        acts = (entry for entry in self.trail() if entry.head == name and entry.act in _ADDING)
        return next((entry.cells_sha256 for entry in acts), None)

    def added(self, profile: str) -> Mapping[str, Entry]:
        """How each version of a profile came, by its name, whether its file is still there or not.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the trail was changed.
        """
        return {str(entry.head): entry for entry in self.trail(profile) if entry.act in _ADDING}

    def require_writable(self) -> None:
        """Raises :class:`~orchestrator.errors.ConfigurationError` where no head could be kept now."""
        with self._held(), TemporaryFile(dir=self._folder):
            self._read_trail()

    def switch_on(self, name: str, who: str, reason: str = "") -> SiteHead:
        """Let a head answer for its profile.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the trust view had too few cells, or
        found it not better and no reason is given.
        """
        with self._held():
            head = self._trusted(name, reason)
            self._append(who, "switched on", head.profile, _named(head), reason)
        return head

    def roll_back(self, profile: str, who: str, reason: str = "") -> SiteHead | None:
        """Let the head answer that did so before the one that does; None: the model's own. A canary ends;
        where it was all that answered beside the model's own head, nothing else does.

        Raises :class:`~orchestrator.errors.ConfigurationError` where no head answers now.
        """
        with self._held():
            stack: list[str | None] = [None]
            trail = self.trail(profile)
            for entry in trail:
                if entry.act == "rolled back":
                    stack.pop()
                elif entry.act in _SWITCHING:
                    stack.append(entry.head)
            canary = _Standing.after(trail).canaries.get(profile)
            if stack[-1] is None and canary is not None:
                self._append(who, "canary ended", profile, (canary.head, canary.sha256), reason)
                return None
            if stack[-1] is None:
                raise ConfigurationError(f"profile {profile!r} has no head that could be rolled back")
            before = None if stack[-2] is None else self.head(stack[-2])
            self._append(who, "rolled back", profile, _named(before), reason)
        return before

    def begin_canary(self, name: str, who: str, share: float = USUAL_SHARE, reason: str = "") -> SiteHead:
        """Let a head answer for a share, in (0, :data:`MAX_SHARE`], in place of the one that is on; a canary
        that there is ends, and may be the same head with another share. It ends where a head is switched on
        or rolled back.

        Raises :class:`~orchestrator.errors.ConfigurationError` as :meth:`switch_on`, and where the head is on
        or the share is none.
        """
        if not 0 < share <= MAX_SHARE:
            raise ConfigurationError(
                f"share: expected more than 0 and at most {MAX_SHARE}, received {share}; for more, switch "
                "the head on"
            )
        with self._held():
            head = self._trusted(name, reason)
            answering = _Standing.after(self.trail(head.profile)).answering.get(head.profile)
            if answering is not None and answering.head == name:
                raise ConfigurationError(f"{name} is on already, and answers for all: try another one")
            self._append(who, "canary begun", head.profile, _named(head), reason, share=share)
        return head

    def end_canary(self, profile: str, who: str, reason: str = "") -> None:
        """Let the head that is on answer for all.

        Raises :class:`~orchestrator.errors.ConfigurationError` where there is no canary.
        """
        with self._held():
            ended = _Standing.after(self.trail(profile)).canaries.get(profile)
            if ended is None:
                raise ConfigurationError(f"profile {profile!r} has no canary")
            self._append(who, "canary ended", profile, (ended.head, ended.sha256), reason)

    def run_in_shadow(self, name: str, who: str, reason: str = "") -> SiteHead:
        """Let a head run beside the one that answers, in place of the one that does so; whatever the trust
        view found of it, since it answers nobody. It ends when that head is switched on.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the head answers already.
        """
        with self._held():
            head = self.head(name)
            self._require_silent(head)
            self._append(who, "shadowed", head.profile, _named(head), reason)
        return head

    def end_shadow(self, profile: str, who: str, reason: str = "") -> None:
        """Let no head run beside the one that answers.

        Raises :class:`~orchestrator.errors.ConfigurationError` where none does.
        """
        with self._held():
            ended = _Standing.after(self.trail(profile)).shadows.get(profile)
            if ended is None:
                raise ConfigurationError(f"profile {profile!r} has no head in the shadow")
            self._append(who, "shadow ended", profile, (ended.head, ended.sha256), reason)

    def numbers(self, profile: str) -> list[int]:
        """Of the versions of a profile, the lowest first."""
        matches = (HEAD_NAME.fullmatch(path.stem) for path in self._folder.glob(f"{profile}.*{SUFFIX}"))
        return sorted(int(m["number"]) for m in matches if m is not None and m["profile"] == profile)

    def _trusted(self, name: str, reason: str) -> SiteHead:
        """A version that may answer callers; raises as :meth:`switch_on`."""
        head = self.head(name)
        if head.decision == "too few":
            raise ConfigurationError(f"{name} stays off: {head.summary.get('why', 'too few cells')}")
        if head.decision != "recommended" and len(reason.strip()) < MIN_REASON:
            raise ConfigurationError(
                f"{name} stays off: {head.summary.get('why', 'not better')}; give a reason of at least "
                f"{MIN_REASON} characters to switch it on all the same"
            )
        return head

    def _require_silent(self, head: SiteHead) -> None:
        """Raises :class:`~orchestrator.errors.ConfigurationError` where a head answers, if for a share."""
        standing = _Standing.after(self.trail(head.profile))
        for acts in (standing.answering, standing.canaries):
            if (entry := acts.get(head.profile)) is not None and entry.head == head.name:
                raise ConfigurationError(f"{head.name} answers already: only another head can run beside it")

    @contextmanager
    def _refreshed(self) -> Iterator[None]:
        with self._lock:
            if self._clock() >= self._look_at_s:
                self._look_at_s = self._clock() + CHECK_EVERY_S
                self._refresh()
            yield

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            with locked(self._folder / TRAIL):
                yield
        except OSError as error:
            raise ConfigurationError(f"the folder of heads cannot be written ({error.strerror})") from error

    def _append(
        self, who: str, act: Act, profile: str, head: _Named, reason: str, **where_there: Any
    ) -> None:
        _, last = self._read_trail()
        entry = Entry(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            who=who,
            act=act,
            profile=profile,
            head=head[0],
            sha256=head[1],
            reason=reason,
            **where_there,
        )
        said = {slot: getattr(entry, slot) for slot in entry.__slots__}
        line = {key: said[key] for key in said if key not in _WHERE_THERE or said[key] is not None}
        line["previous"] = last
        line["hash"] = self._hash(line)
        # A name from a terminal may hold what UTF-8 has no letter for; JSON is read alike.
        data = (json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        with (self._folder / TRAIL).open("ab") as file:
            if file.tell() + len(data) > self._max_trail_bytes:
                raise ConfigurationError(
                    f"{TRAIL} is full ({self._max_trail_bytes} bytes): export the head that answers (`wbc "
                    "adapt --export`), name a new folder in WBC_HEADS_DIR, and import it there"
                )
            file.write(data)
        with self._lock:
            self._look_at_s = float("-inf")

    def _read_trail(self) -> tuple[list[Entry], str]:
        """The entries and the hash of the last line."""
        try:
            with (self._folder / TRAIL).open("rb") as file:
                data = file.read(self._max_trail_bytes + 1)
        except FileNotFoundError:
            return [], ""
        except OSError as error:
            raise ConfigurationError(f"{TRAIL}: cannot be read ({error.strerror})") from error
        entries, last = [], ""
        for number, text in enumerate(data.splitlines(), 1):
            try:
                line = json.loads(text)
                said = line.pop("hash")
                holds = line["previous"] == last and hmac.compare_digest(said, self._hash(line))
                fields = {slot: line.get(slot) for slot in _WHERE_THERE}
                fields |= {slot: line[slot] for slot in Entry.__slots__ if slot not in _WHERE_THERE}
            except (ValueError, KeyError, TypeError, AttributeError):
                holds = False
            if not holds or len(data) > self._max_trail_bytes or not _is_act(fields["act"], fields["share"]):
                raise ConfigurationError(f"{TRAIL}: line {number} is not as it was written")
            entries.append(Entry(**fields))
            last = said
        return entries, last

    def _hash(self, line: Mapping[str, Any]) -> str:
        data = json.dumps(line, sort_keys=True).encode()
        return (
            hashlib.sha256(data) if self._key is None else hmac.new(self._key, data, hashlib.sha256)
        ).hexdigest()

    def _refresh(self) -> None:
        try:
            state = state_of((self._folder / TRAIL).stat())
        except OSError:
            state = None
        if state == self._state:
            return
        self._state = state
        try:
            standing = _Standing.after(self.trail())
        except ConfigurationError as error:
            _LOGGER.error("site heads: none answers: %s", error)
            standing = _Standing()
        self._active = self._read("profile %s is answered by the model's own", standing.answering)
        self._shadows = self._read("profile %s has no head in the shadow", standing.shadows)
        tried = self._read("profile %s has no canary", standing.canaries)
        self._canaries = {
            profile: Canary(head, standing.canaries[profile].share or 0.0) for profile, head in tried.items()
        }

    def _read(self, instead: str, entries: Mapping[str, Entry]) -> Mapping[str, SiteHead]:
        """The heads that acts name, by profile; what is ``instead`` of one that does not hold is logged."""
        heads = {}
        for profile, entry in entries.items():
            if entry.head is None:
                continue
            try:
                head = self.head(entry.head)
                if head.sha256 != entry.sha256:
                    raise ConfigurationError(f"{entry.head}: is not the head that was {entry.act}")
            except ConfigurationError as error:
                _LOGGER.error(f"site heads: {instead}: %s", profile, error)
                continue
            heads[profile] = head
        return heads


def _is_act(act: object, share: object) -> bool:
    if act == "canary begun":
        return isinstance(share, float) and 0 < share <= MAX_SHARE
    return act in get_args(Act) and share is None


def _named(head: SiteHead | None) -> _Named:
    return (None, None) if head is None else (head.name, head.sha256)


def foreign(head: SiteHead, profile: str) -> SiteHead:
    """Another site's head for a profile of this one, as its first version: nothing is known of it here, so
    that it takes a reason to switch it on."""
    why = f"was learnt elsewhere, as {head.name}: nothing tells yet how it fares on this site's cells"
    return replace(head, name=f"{profile}.1", decision="not better", summary={**head.summary, "why": why})

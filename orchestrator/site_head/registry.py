"""The heads of a site: versions in a folder, and a trail of who made, switched on, rolled back and shadowed
which, and why.

``PROFILE.NUMBER.head`` is a version, never changed; ``heads.jsonl`` the trail, a line for each act, each with
the hash of the one before: the last acts on a profile say which head answers, and which one is in the shadow:
runs beside it and answers nobody. A service looks at the trail once a second at most, when somebody asks.
"""

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, Literal, get_args

from orchestrator.common.whole_file import FileState, locked, state_of
from orchestrator.errors import ConfigurationError
from orchestrator.site_head.head_file import HEAD_NAME, SUFFIX, SiteHead, made, read_head, write_head

TRAIL: Final = "heads.jsonl"
MAX_TRAIL_BYTES: Final = 2**24
MIN_REASON: Final = 10
CHECK_EVERY_S: Final = 1.0

Act = Literal["made", "imported", "switched on", "rolled back", "shadowed", "shadow ended"]
_SWITCHING: Final = ("switched on", "rolled back")
_Named = tuple[str | None, str | None]
"""Name and SHA-256 of a head; None where the model's own answers."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One act: on a ``profile``, with a ``head`` (name; None where the model's own answers from then on) of
    this ``sha256``."""

    at: str
    who: str
    act: Act
    profile: str
    head: str | None
    sha256: str | None
    reason: str


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
        self._shadows: Mapping[str, SiteHead] = {}

    def active(self, profile: str) -> SiteHead | None:
        """The head that a profile has now; None where the model's own answers."""
        with self._refreshed():
            return self._active.get(profile)

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

    def add(self, head: SiteHead, who: str, reason: str = "", act: Act = "made") -> SiteHead:
        """Keep a head as the next version of its profile, which stays off; as it was kept."""
        with self._held():
            number = max(self.numbers(head.profile), default=0) + 1
            fields = {slot: getattr(head, slot) for slot in head.__slots__ if slot != "sha256"}
            kept = made(**fields | {"name": f"{head.profile}.{number}"})
            path = self._folder / f"{kept.name}{SUFFIX}"
            write_head(path, kept, self._key)
            try:
                self._append(who, act, kept.profile, _named(kept), reason)
            except (ConfigurationError, OSError):
                path.unlink(missing_ok=True)  # of which nobody could say where it came from
                raise
        return kept

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
            head = self.head(name)
            if head.decision == "too few":
                raise ConfigurationError(f"{name} stays off: {head.summary.get('why', 'too few cells')}")
            if head.decision != "recommended" and len(reason.strip()) < MIN_REASON:
                raise ConfigurationError(
                    f"{name} stays off: {head.summary.get('why', 'not better')}; give a reason of at least "
                    f"{MIN_REASON} characters to switch it on all the same"
                )
            self._append(who, "switched on", head.profile, _named(head), reason)
        return head

    def roll_back(self, profile: str, who: str, reason: str = "") -> SiteHead | None:
        """Let the head answer that did so before the one that does; None: the model's own.

        Raises :class:`~orchestrator.errors.ConfigurationError` where no head answers now.
        """
        with self._held():
            stack: list[str | None] = [None]
            for entry in self.trail(profile):
                if entry.act == "rolled back":
                    stack.pop()
                elif entry.act in _SWITCHING:
                    stack.append(entry.head)
            if stack[-1] is None:
                raise ConfigurationError(f"profile {profile!r} has no head that could be rolled back")
            before = None if stack[-2] is None else self.head(stack[-2])
            self._append(who, "rolled back", profile, _named(before), reason)
        return before

    def run_in_shadow(self, name: str, who: str, reason: str = "") -> SiteHead:
        """Let a head run beside the one that answers, in place of the one that does so; whatever the trust
        view found of it, since it answers nobody. It ends when that head is switched on.

        Raises :class:`~orchestrator.errors.ConfigurationError` where the head answers already.
        """
        with self._held():
            head = self.head(name)
            answering, _ = _standing(self.trail(head.profile))
            if head.profile in answering and answering[head.profile].head == name:
                raise ConfigurationError(f"{name} answers already: only another head can run beside it")
            self._append(who, "shadowed", head.profile, _named(head), reason)
        return head

    def end_shadow(self, profile: str, who: str, reason: str = "") -> None:
        """Let no head run beside the one that answers.

        Raises :class:`~orchestrator.errors.ConfigurationError` where none does.
        """
        with self._held():
            _, shadows = _standing(self.trail(profile))
            if profile not in shadows:
                raise ConfigurationError(f"profile {profile!r} has no head in the shadow")
            ended = shadows[profile]
            self._append(who, "shadow ended", profile, (ended.head, ended.sha256), reason)

    def numbers(self, profile: str) -> list[int]:
        """Of the versions of a profile, the lowest first."""
        matches = (HEAD_NAME.fullmatch(path.stem) for path in self._folder.glob(f"{profile}.*{SUFFIX}"))
        return sorted(int(m["number"]) for m in matches if m is not None and m["profile"] == profile)

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

    def _append(self, who: str, act: Act, profile: str, head: _Named, reason: str) -> None:
        _, last = self._read_trail()
        entry = Entry(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            who=who,
            act=act,
            profile=profile,
            head=head[0],
            sha256=head[1],
            reason=reason,
        )
        line = {**{slot: getattr(entry, slot) for slot in entry.__slots__}, "previous": last}
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
                fields = {slot: line[slot] for slot in Entry.__slots__}
            except (ValueError, KeyError, TypeError, AttributeError):
                holds = False
            if not holds or len(data) > self._max_trail_bytes or fields["act"] not in get_args(Act):
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
            answering, shadows = _standing(self.trail())
        except ConfigurationError as error:
            _LOGGER.error("site heads: none answers: %s", error)
            answering, shadows = {}, {}
        self._active = self._read("profile %s is answered by the model's own", answering)
        self._shadows = self._read("profile %s has no head in the shadow", shadows)

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


def _named(head: SiteHead | None) -> _Named:
    return (None, None) if head is None else (head.name, head.sha256)


def _standing(trail: Iterable[Entry]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The acts that say which head answers for each profile, and which one is in the shadow; a head that is
    switched on, or rolled back to, is so no more."""
    answering, shadows = dict[str, Entry](), dict[str, Entry]()
    for entry in trail:
        profile = entry.profile
        if entry.act in _SWITCHING:
            answering[profile] = entry
            if profile in shadows and shadows[profile].head == entry.head:
                del shadows[profile]
        elif entry.act == "shadowed":
            shadows[profile] = entry
        elif entry.act == "shadow ended":
            shadows.pop(profile, None)
    return answering, shadows


def foreign(head: SiteHead, profile: str) -> SiteHead:
    """Another site's head for a profile of this one, as its first version: nothing is known of it here, so
    that it takes a reason to switch it on."""
    why = f"was learnt elsewhere, as {head.name}: nothing tells yet how it fares on this site's cells"
    return replace(head, name=f"{profile}.1", decision="not better", summary={**head.summary, "why": why})

"""The audit of a microscope: whether the service's answers for its images may go without a person.

A plan is frozen before the first cell: which model and profile, which classes at which confidence, how many
cells. Then fresh cells of several specimens are answered by the service and labelled by a person who does not
see the answers. They are judged once: a class is released where at least :data:`TARGET` of its answers are
right, with a one-sided confidence of 95 %. Who looked after every cell instead would release far more classes
wrongly than one in twenty. What is released goes on being checked by a sample.

All of it stands in one JSON file. Its hashes find what was changed by mistake; who means to deceive can
compute them anew. The answers lie in the file apart from the labels, and are not encrypted.

References
----------
Clopper and Pearson 1934 (:mod:`orchestrator.common.binomial_interval`).
"""

import hashlib
import hmac
import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from orchestrator.common.binomial_interval import ERROR_CONFIDENCE, lower_bound, upper_bound
from orchestrator.common.whole_file import locked, write_whole
from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES

TARGET: Final = 0.97
"""Least accuracy of the answers of a class that is released."""

CONFIDENCE: Final = 0.95
"""One-sided, of each class for itself."""

MIN_SPECIMENS: Final = 3
"""Of which the accepted cells of each class come: cells of one smear resemble each other."""

OTHER: Final = "other"
"""A person's label for what is none of the five classes: an immature cell, an erythroblast, an artefact."""

LABELS: Final = (*CLASS_NAMES, OTHER)

SAMPLED_SHARE: Final = 0.05
"""Of the released answers, which a person sees all the same."""

WINDOW: Final = 300
"""Newest samples of a class that tell whether it is still as good as the audit found."""

MAX_CELLS: Final = 10_000
MAX_FILE_BYTES: Final = 2**25

_EMBEDDED: Final = "embedded"
_LOOK_AGAIN_S: Final = 0.02
_READABLE_BY_THE_SERVICE: Final = 0o644


@lru_cache(maxsize=1024)
def cells_needed(errors: int, target: float = TARGET, confidence: float = CONFIDENCE) -> int:
    """Fewest accepted cells that pass with as many ``errors``: 99 with none, 157 with one, 208 with two."""
    sizes = range(errors + 1, 10**6)
    found = bisect_left(sizes, target, key=lambda size: lower_bound(size - errors, size, confidence))
    return sizes[found]


def _one_of(*names: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return value

    return AfterValidator(check)


_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_ClassName = Annotated[str, _one_of(*CLASS_NAMES)]
_Label = Annotated[str, _one_of(*LABELS)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class AuditedModel(_Part):
    """The model that was audited, and how it was run; ``precision`` where this process ran it."""

    name: _Name
    version: int
    sha256: _Sha256 | None
    server: _Name
    precision: _Name | None

    @classmethod
    def of(cls, model: ModelIdentity, embedded_precision: str) -> "AuditedModel":
        """``embedded_precision`` is what the model inside this process may compute in."""
        precision = embedded_precision if model.server == _EMBEDDED else None
        return cls(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            server=model.server,
            precision=precision,
        )

    def is_that(self, model: ModelIdentity, embedded_precision: str) -> bool:
        """Whether it is this model, run in the same way."""
        return ModelIdentity(self.name, self.version, self.sha256, self.server) == model and (
            model.server != _EMBEDDED or self.precision == embedded_precision
        )


class AuditPlan(_Part):
    """What is fixed before the first cell. ``thresholds`` are, by class that is to be released, the least
    confidence of an answer; ``fitting_images`` are the hashes of the images that these were found on."""

    profile: _Name
    profile_sha256: _Sha256
    model: AuditedModel
    thresholds: dict[_ClassName, _Probability] = Field(min_length=1)
    cells_per_class: int = Field(ge=cells_needed(0), le=MAX_CELLS)
    target: float = Field(default=TARGET, ge=TARGET, lt=1)
    confidence: float = Field(default=CONFIDENCE, ge=CONFIDENCE, lt=1)
    seed: int = Field(ge=0, lt=2**63)
    planned_at: AwareDatetime
    fitting_images: tuple[_Sha256, ...] = Field(default=(), max_length=MAX_CELLS)

    @property
    def sha256(self) -> str:
        """Hash of the whole plan; hex."""
        return _sha256_of(self.model_dump(mode="json"))

    def keyed(self, purpose: str, image_sha256: str) -> bytes:
        """A number, 32 bytes, that depends on the image and the seed and on nothing else."""
        return hmac.digest(str(self.seed).encode(), f"{purpose}:{image_sha256}".encode(), "sha256")

    def is_sampled(self, image_sha256: str) -> bool:
        """Whether a released answer for this image goes to a person all the same."""
        number = int.from_bytes(self.keyed("sample", image_sha256)[:8])
        return number < SAMPLED_SHARE * 2**64


class AuditCell(_Part):
    """An image that was answered; ``image`` is its name, for who labels it."""

    image_sha256: _Sha256
    specimen: _Name
    image: Annotated[str, Field(min_length=1, max_length=1000)]


class SealedAnswer(_Part):
    """What the service said of a cell; nobody is shown it before the verdict."""

    class_name: _ClassName
    probabilities: Annotated[
        tuple[_Probability, ...], Field(min_length=len(CLASS_NAMES), max_length=len(CLASS_NAMES))
    ]

    @property
    def confidence(self) -> float:
        """Of ``class_name``."""
        return self.probabilities[CLASS_NAMES.index(self.class_name)]


class ClassVerdict(_Part):
    """Of the ``accepted`` answers with this class, at or above its threshold, ``errors`` were wrong;
    ``accuracy_bound`` is the one-sided lower limit of their accuracy."""

    class_name: _ClassName
    threshold: _Probability
    accepted: _Count
    errors: _Count
    accuracy_bound: _Probability
    released: bool


class Verdict(_Part):
    """The one look. ``confusion`` counts all cells, by the service's class and then by the person's label;
    ``specimens`` by specimen. ``sha256`` covers plan, cells, labels, answers and the rest of the verdict."""

    judged_at: AwareDatetime
    classes: tuple[ClassVerdict, ...]
    confusion: dict[_ClassName, dict[_Label, _Count]]
    specimens: dict[_Name, _Count]
    sha256: _Sha256

    def wrong_limits(self) -> dict[str, float]:
        """By class that is released, the upper limit of the share of its answers that are wrong, one-sided at
        :data:`~orchestrator.common.binomial_interval.ERROR_CONFIDENCE`."""
        return {
            one.class_name: upper_bound(one.errors, one.accepted, ERROR_CONFIDENCE)
            for one in self.classes
            if one.released
        }

    def releases(self, class_name: str, confidence: float = 1.0) -> bool:
        """Whether answers of a class are released, at a confidence in [0, 1]."""
        return any(
            one.released and one.class_name == class_name and confidence >= one.threshold
            for one in self.classes
        )


class AuditSample(_Part):
    """What a person said of a released answer, after the audit; where it was said of a cell of a specimen, of
    which one, and when."""

    image_sha256: _Sha256
    class_name: _ClassName
    correct: bool
    cell_id: str | None = Field(default=None, max_length=200)
    decided_at: AwareDatetime | None = None


class CountedSample(NamedTuple):
    """What was made of a person's decision about a sampled cell of a specimen: ``correct`` is None where it
    was taken back. ``plan_sha256`` names the audit, ``is_suspended`` tells what has become of it."""

    cell_id: str
    class_name: str
    correct: bool | None
    plan_sha256: str
    is_suspended: bool


class ClassProgress(NamedTuple):
    """Cells that the service answered with a class, at or above its threshold, and the number of specimens
    that they come of."""

    cells: int
    specimens: int


@dataclass(frozen=True, slots=True)
class RollingWindow:
    """Whether each of the newest samples of a class, at most :data:`WINDOW`, was right."""

    outcomes: tuple[bool, ...] = ()

    def added(self, correct: bool) -> "RollingWindow":
        """With one more, the newest."""
        return RollingWindow((*self.outcomes, correct)[-WINDOW:])

    def is_proven_worse(self, target: float = TARGET, confidence: float = CONFIDENCE) -> bool:
        """Whether the one-sided upper limit of the accuracy lies below ``target``."""
        right, seen = sum(self.outcomes), len(self.outcomes)
        return seen > 0 and upper_bound(right, seen, confidence) < target


class Audit(_Part):
    """An audit as it is kept.

    Raises ``ValueError`` where the parts do not belong together: the plan is not the one that was frozen, a
    cell stands there twice, a verdict is not what the cells come to.
    """

    format: Literal["wbc-device-audit-1"] = "wbc-device-audit-1"
    disclaimer: str = DISCLAIMER
    plan: AuditPlan
    plan_sha256: _Sha256
    cells: tuple[AuditCell, ...] = Field(default=(), max_length=MAX_CELLS)
    labels: dict[_Sha256, _Label] = {}
    sealed: dict[_Sha256, SealedAnswer] = {}
    verdict: Verdict | None = None
    samples: tuple[AuditSample, ...] = ()

    @classmethod
    def of(cls, plan: AuditPlan) -> "Audit":
        """The audit at its beginning, the plan frozen."""
        return cls(plan=plan, plan_sha256=plan.sha256)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.plan_sha256 != self.plan.sha256:
            raise ValueError("the plan was changed after it was frozen")
        known = {cell.image_sha256 for cell in self.cells}
        if len(known) != len(self.cells) or self.sealed.keys() != known or not self.labels.keys() <= known:
            raise ValueError("cells, labels and answers do not belong together")
        if known & set(self.plan.fitting_images):
            raise ValueError("an image that the thresholds were found on is among the cells")
        if self.verdict is None:
            if self.samples:
                raise ValueError("there are samples and no verdict")
        elif self.missing() or self.verdict != self._verdict(self.verdict.judged_at):
            raise ValueError("the verdict is not what plan, cells, labels and answers come to")
        elif len({sample.image_sha256 for sample in self.samples}) != len(self.samples) or not all(
            self.verdict.releases(sample.class_name) and self.plan.is_sampled(sample.image_sha256)
            for sample in self.samples
        ):
            raise ValueError("there are samples that were counted twice, or are none of this audit")
        return self

    def with_cell(self, cell: AuditCell, answer: SealedAnswer) -> "Audit":
        """With one more cell. Raises ``ConfigurationError`` where it may not be used."""
        self._require_open()
        if why := self.refusal(cell.image_sha256):
            raise ConfigurationError(why)
        return self.model_copy(
            update={
                "cells": (*self.cells, cell),
                "sealed": {**self.sealed, cell.image_sha256: answer},
            }
        )

    def refusal(self, image_sha256: str) -> str | None:
        """Why an image may not be a cell of this audit; None where it may."""
        if image_sha256 in self.sealed:
            return "the same image is a cell of this audit already"
        if image_sha256 in self.plan.fitting_images:
            return "the thresholds were found on this image"
        if self.is_filled:
            return "all cells that were planned are there: label them, then judge"
        if len(self.cells) >= MAX_CELLS:
            return f"an audit holds at most {MAX_CELLS} cells"
        return None

    def with_labels(self, labels: Mapping[str, str]) -> "Audit":
        """With a person's labels, by the hash of the image; a later one replaces an earlier one.

        Raises ``ConfigurationError`` where one is none of :data:`LABELS`, or of no cell of this audit.
        """
        self._require_open()
        if unknown := labels.keys() - self.sealed.keys():
            raise ConfigurationError(f"{len(unknown)} labelled images are no cells of this audit")
        if wrong := set(labels.values()) - set(LABELS):
            raise ConfigurationError(f"expected labels of {', '.join(LABELS)}, received {min(wrong)!r}")
        return self.model_copy(update={"labels": {**self.labels, **labels}})

    def to_be_labelled(self) -> tuple[AuditCell, ...]:
        """The cells in an order that the seed alone decides, so that it tells nothing of the answers."""
        return tuple(sorted(self.cells, key=lambda cell: self.plan.keyed("order", cell.image_sha256)))

    def progress(self) -> dict[str, ClassProgress]:
        """How far each class to be released is, by the cells that have a label."""
        return self._progress(cell for cell in self.cells if cell.image_sha256 in self.labels)

    @property
    def is_filled(self) -> bool:
        """Whether all cells that were planned are there. Then none is added any more, whatever the labels
        are: who could add some until the verdict suits would look more than once."""
        return not self._too_few(self._progress(self.cells))

    def missing(self) -> tuple[str, ...]:
        """What has to be done before the verdict."""
        found = self._too_few(self.progress())
        # Otherwise the doubtful ones would be those that nobody labels.
        if waiting := len(self.cells) - len(self.labels):
            found.append(f"{waiting} cells wait for a label")
        return tuple(found)

    def judged(self, at: datetime) -> "Audit":
        """With the verdict.

        Raises ``ConfigurationError`` where something is missing, and where there is a verdict already: a
        second look at more cells would be one too many.
        """
        self._require_open()
        if missing := self.missing():
            raise ConfigurationError(f"nothing is judged before all is there: {'; '.join(missing)}")
        return self.model_copy(update={"verdict": self._verdict(at)})

    def with_sample(self, sample: AuditSample) -> "Audit":
        """With what a person said of a released answer.

        Raises ``ConfigurationError`` where the class is not released, the image is none of the sample, or it
        was counted before.
        """
        if self.verdict is None or not self.verdict.releases(sample.class_name):
            raise ConfigurationError(f"this audit releases no answers of {sample.class_name}")
        if not self.plan.is_sampled(sample.image_sha256):
            raise ConfigurationError("this image is none of the sample; others would make it another one")
        if any(one.image_sha256 == sample.image_sha256 for one in self.samples):
            raise ConfigurationError("this image was counted before")
        return self.model_copy(update={"samples": (*self.samples, sample)})

    def with_corrected_sample(self, sample: AuditSample) -> "Audit":
        """Where a person changed what was said of a released answer: in its old place, so that a slip of the
        hand suspends nothing for good."""
        kept = tuple(sample if one.image_sha256 == sample.image_sha256 else one for one in self.samples)
        return self.model_copy(update={"samples": kept})

    def without_sample(self, image_sha256: str) -> "Audit":
        """Where a person took back what was said of a released answer; itself where nothing was."""
        kept = tuple(one for one in self.samples if one.image_sha256 != image_sha256)
        return self if len(kept) == len(self.samples) else self.model_copy(update={"samples": kept})

    def is_suspended(self) -> bool:
        """Whether a class was once proven worse than the target by its samples; right answers after that do
        not mend it."""
        windows: dict[str, RollingWindow] = {}
        for sample in self.samples:
            window = windows.get(sample.class_name, RollingWindow()).added(sample.correct)
            windows[sample.class_name] = window
            # A right answer proves nothing to be worse.
            if not sample.correct and window.is_proven_worse(self.plan.target, self.plan.confidence):
                return True
        return False

    def _require_open(self) -> None:
        if self.verdict is not None:
            raise ConfigurationError("this audit is judged, and judged once; begin a new one")

    def _progress(self, cells: Iterable[AuditCell]) -> dict[str, ClassProgress]:
        specimens: dict[str, list[str]] = {name: [] for name in self.plan.thresholds}
        for cell in cells:
            answer = self.sealed[cell.image_sha256]
            if self._is_accepted(answer):
                specimens[answer.class_name].append(cell.specimen)
        return {name: ClassProgress(len(found), len(set(found))) for name, found in specimens.items()}

    def _too_few(self, progress: Mapping[str, ClassProgress]) -> list[str]:
        found: list[str] = []
        for name, so_far in progress.items():
            if so_far.cells < self.plan.cells_per_class:
                found.append(f"{name}: {so_far.cells} of {self.plan.cells_per_class} cells")
            if so_far.specimens < MIN_SPECIMENS:
                found.append(f"{name}: {so_far.specimens} of at least {MIN_SPECIMENS} specimens")
        return found

    def _is_accepted(self, answer: SealedAnswer) -> bool:
        threshold = self.plan.thresholds.get(answer.class_name)
        return threshold is not None and answer.confidence >= threshold

    def _verdict(self, at: datetime) -> Verdict:
        fields: dict[str, Any] = {
            "judged_at": at,
            "classes": tuple(self._class_verdict(name) for name in self.plan.thresholds),
            "confusion": self._confusion(),
            "specimens": dict(sorted(Counter(cell.specimen for cell in self.cells).items())),
        }
        unsigned = Verdict(**fields, sha256="0" * 64)
        evidence = self.model_dump(mode="json", include={"plan", "cells", "labels", "sealed"})
        evidence["verdict"] = unsigned.model_dump(mode="json", exclude={"sha256"})
        return unsigned.model_copy(update={"sha256": _sha256_of(evidence)})

    def _class_verdict(self, class_name: str) -> ClassVerdict:
        labels = [
            self.labels.get(image_sha256)
            for image_sha256, answer in self.sealed.items()
            if answer.class_name == class_name and self._is_accepted(answer)
        ]
        errors = sum(label != class_name for label in labels)
        plan, accepted = self.plan, len(labels)
        bound = lower_bound(accepted - errors, accepted, plan.confidence) if accepted else 0.0
        return ClassVerdict(
            class_name=class_name,
            threshold=plan.thresholds[class_name],
            accepted=accepted,
            errors=errors,
            accuracy_bound=round(bound, 9),  # the last digits are the machine's
            released=accepted >= plan.cells_per_class and bound >= plan.target,
        )

    def _confusion(self) -> dict[str, dict[str, int]]:
        counts = Counter((answer.class_name, self.labels.get(sha)) for sha, answer in self.sealed.items())
        return {answered: {label: counts[answered, label] for label in LABELS} for answered in CLASS_NAMES}


class AuditFile:
    """The file of one audit. What raises ``ConfigurationError`` names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Audit:
        """The audit, checked. Raises ``ConfigurationError`` where it cannot be read, or does not hold."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from error
        if len(content) > MAX_FILE_BYTES:
            raise self._error(f"expected at most {MAX_FILE_BYTES} bytes")
        try:
            return Audit.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])[:200]
            why = first["msg"].removeprefix("Value error, ")
            raise self._error(f"no audit that holds: {f'{place}, ' if place else ''}{why}") from None

    def create(self, audit: Audit) -> None:
        """Begin the file. Raises ``ConfigurationError`` where there is one, or it cannot be written."""
        with self.held():
            if self._path.exists():
                raise self._error("is there already, and a plan is never written over; name another file")
            self.write(audit)

    def write(self, audit: Audit) -> None:
        """Replace the content, all or nothing; to be ``held`` meanwhile.

        Raises ``ConfigurationError`` where that is impossible; then the old content stays.
        """
        text = audit.model_dump_json(indent=1) + "\n"
        if len(text.encode()) > MAX_FILE_BYTES:
            raise self._error(f"would have more than {MAX_FILE_BYTES} bytes")
        try:
            write_whole(self._path, text, _READABLE_BY_THE_SERVICE)
        except OSError as error:
            raise self._error(f"cannot be written ({error.strerror})") from error

    @contextmanager
    def held(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Keep other processes from changing it. Raises ``ConfigurationError`` where one does, for all of
        ``wait_s`` seconds."""
        until_s = time.monotonic() + wait_s
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(locked(self._path, wait=False))
                    break
                except BlockingIOError as error:
                    if time.monotonic() >= until_s:
                        raise self._error("another command is changing it; wait for its end") from error
                    time.sleep(_LOOK_AGAIN_S)
                except OSError as error:
                    raise self._error(f"cannot be written ({error.strerror})") from error
            yield

    def _error(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {why}")


def _sha256_of(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()

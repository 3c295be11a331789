"""The error tree of the service.

::

    WbcError
    ├ InvalidImage: UndecodableImage · UnsupportedImage · ImageTooLarge
    ├ MalformedUpload · UploadTooLarge · UnsupportedBody: CompressedBody · UploadTimeout
    ├ InvalidParameter: UnknownProfile (knows the fields that are wrong)
    ├ Overloaded: ImageWorkersLost    (knows when to try again)
    ├ DeadlineExceeded                (the time that the caller gave is over)
    ├ ModelServerError: ModelServerUnavailable · ModelServerTimeout · ContractViolation
    ├ InteropError: MalformedMessage · UnsayableText · PeerUnavailable · PeerRefused · PeerRejected ·
    │               PeerUnconfirmed · DicomOff
    ├ StoreError: UnknownDifferential · UnknownCell · IdempotencyConflict · SpecimenClosed · CountedAlready ·
    │             NotReady · ChangedMeanwhile · RecordAltered · StoreUnavailable · StoreOff · ImageNotKept
    ├ UnknownAudit · AuditRefused     (of a microscope)
    ├ ReportWriterError               (never reaches a caller: the fallback is the rule-based writer)
    └ ConfigurationError              (settings or a device profile; raised at start)

Each error has a :class:`ProblemType`, its own or that of its nearest ancestor, which the edges translate.
Messages are written for the person who can do something about it and never contain file names,
paths or image content.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, ClassVar, Final


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What errors of one kind are to a caller, whichever way they ask.

    Args:
        name: ends the type URI of a problem, and labels its count in the metrics.
        status: of HTTP; other edges translate it.
        title: what went wrong, in general.
        example: a typical message.
        retry_after_s: after which it may be tried again; None where that makes nothing better.
    """

    name: str
    status: HTTPStatus
    title: str
    example: str
    retry_after_s: float | None = None


INTERNAL: Final = ProblemType(
    "internal-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The service failed",
    "The service failed. Its log tells more under this request id.",
)
"""Of everything unexpected."""

DISCONNECTED: Final = ProblemType(
    "client-disconnected",
    HTTPStatus.BAD_REQUEST,
    "The sender went away",
    "The upload was broken off.",
)
"""Of an upload whose sender is gone: nobody reads it, the metrics count it."""


class WbcError(Exception):
    """Base of every error that this project raises on purpose."""

    kind: ClassVar[ProblemType] = INTERNAL


class InvalidImage(WbcError):
    """The payload is not an image that can be analysed."""

    kind = ProblemType(
        "invalid-image",
        HTTPStatus.BAD_REQUEST,
        "The image cannot be analysed",
        "This image cannot be analysed.",
    )


class UndecodableImage(InvalidImage):
    """The format is known but the data is truncated, corrupt or empty."""

    kind = ProblemType(
        "undecodable-image",
        HTTPStatus.BAD_REQUEST,
        "The image cannot be decoded",
        "The JPEG data ends early: the file is truncated.",
    )


class UnsupportedImage(InvalidImage):
    """The data is of a format, or of a kind within a format, that is not supported."""

    kind = ProblemType(
        "unsupported-image",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "This kind of image is not supported",
        "The file is not a JPEG, PNG, BMP, TIFF, WebP or DICOM image.",
    )


class ImageTooLarge(InvalidImage):
    """The payload has more bytes or more pixels than the settings allow."""

    kind = ProblemType(
        "image-too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The image is too large",
        "The file is too large; at most 10485760 bytes are accepted.",
    )


class FieldTooSmall(InvalidImage):
    """The cells of a field are too small in pixels for their classes to be told."""

    kind = ProblemType(
        "field-too-small",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The cells of this field are too small",
        "The red cells of this field are about 8 pixels wide; at least 12 are needed to tell white cells "
        "apart. Use a higher magnification.",
    )


class MalformedUpload(WbcError):
    """The body is not a form with one file in the field ``file``, or with files where several are taken."""

    kind = ProblemType(
        "malformed-upload",
        HTTPStatus.BAD_REQUEST,
        "The upload is malformed",
        "There is no file: the form has no field 'file'.",
    )


class UploadTooLarge(WbcError):
    """There are more files, or more bytes in all of them together, than one order may have."""

    kind = ProblemType(
        "upload-too-large",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The upload is too large",
        "The files together are too large; at most 268435456 bytes are accepted.",
    )


class UnsupportedBody(WbcError):
    """The body is of a kind that is never read, such as JSON."""

    kind = ProblemType(
        "unsupported-body",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "This kind of body is not supported",
        "Expected multipart/form-data with the image in the field 'file'.",
    )


class CompressedBody(UnsupportedBody):
    """The body came with a content coding; none is read."""

    def __init__(self) -> None:
        super().__init__("Compressed bodies are not read; leave Content-Encoding out.")


class UploadTimeout(WbcError):
    """The body did not arrive in time."""

    kind = ProblemType(
        "upload-timeout",
        HTTPStatus.REQUEST_TIMEOUT,
        "The upload took too long",
        "The upload did not arrive within 60 seconds.",
    )


_PLACES: Final = ("query", "header")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one parameter, and which values are right where these can be listed."""

    field: str
    message: str
    allowed: tuple[str, ...] = ()


class InvalidParameter(WbcError):
    """Parameters of a request are unknown or wrong."""

    kind = ProblemType(
        "invalid-parameter",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A parameter is wrong",
        "profile: there is no such profile",
    )

    def __init__(self, *fields: FieldProblem) -> None:
        super().__init__("; ".join(f"{field.field}: {field.message}" for field in fields))
        self.fields = fields

    @classmethod
    def from_validation(cls, found: Sequence[Any]) -> "InvalidParameter":
        """Of pydantic's list of errors; the values that were received are not repeated."""
        return cls(
            *(
                FieldProblem(".".join(str(p) for p in error["loc"] if p not in _PLACES), error["msg"])
                for error in found
            )
        )

    def within(self, message: str) -> "InvalidParameter":
        """The same, of parameters that stand in a message of this name."""
        return InvalidParameter(*(replace(of, field=f"{message}.{of.field}") for of in self.fields))


class UnknownProfile(InvalidParameter):
    """There is no device profile of the name that a caller chose; ``known`` are those there are."""

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__(FieldProblem("profile", "there is no such profile", tuple(known)))
        self.known = self.fields[0].allowed


class Overloaded(WbcError):
    """There is more work than may be queued.

    ``retry_after_s`` is the time in seconds after which a caller may try again.
    """

    # 503 and not 429: all callers together are too many for this process, not this one for its share.
    kind = ProblemType(
        "overloaded",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The service is busy",
        "64 analyses are under way; no more are taken.",
        retry_after_s=1,
    )

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ImageWorkersLost(Overloaded):
    """The processes for images were ended from outside, one after the other: nothing is said of the image."""


class DeadlineExceeded(WbcError):
    """The time that a request had is over, wherever it was spent."""

    kind = ProblemType(
        "deadline-exceeded",
        HTTPStatus.GATEWAY_TIMEOUT,
        "The time for this request is over",
        "There was no answer in the time for this request.",
    )


class ModelServerError(WbcError):
    """The model server could not answer."""

    kind = ProblemType(
        "model-error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The model failed",
        "The model server could not answer.",
    )


class ModelServerUnavailable(ModelServerError):
    """The model server cannot be reached or holds no loaded model."""

    kind = ProblemType(
        "model-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The model is not available",
        "The model server is not ready.",
        retry_after_s=5,
    )


class ModelServerTimeout(ModelServerError):
    """The model server did not answer before the deadline."""

    kind = ProblemType(
        "model-timeout",
        HTTPStatus.GATEWAY_TIMEOUT,
        "The model did not answer in time",
        "The model server did not answer before the deadline.",
    )


class ContractViolation(ModelServerError):
    """The served model is not the one that :mod:`orchestrator.model_contract` describes."""

    kind = ProblemType(
        "contract-violation",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The served model is not the one expected",
        "The model server sent no class activation maps.",
    )


class InteropError(WbcError):
    """Something between this service and a hospital's system went wrong."""


class MalformedMessage(InteropError):
    """What a peer or a caller sent is not a message of the format that it should be."""


class UnsayableText(InteropError):
    """A text holds a character that the character set of the site's messages lacks."""

    kind = ProblemType(
        "unsayable-text",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The message cannot be written in the site's character set",
        "The segment SPM holds the character U+8840, which the character set 8859/9 lacks.",
    )


class PeerUnavailable(InteropError):
    """The other system cannot be reached, or did not confirm in time, in all attempts."""


class PeerRefused(InteropError):
    """The other system understood and refused; the same message would be refused again."""


class PeerRejected(InteropError):
    """The other system took nothing, for reasons that are not the message's: it may be sent again."""


class PeerUnconfirmed(InteropError):
    """The other system answered, but not with what says by its standard that it has what was sent."""


class DicomOff(InteropError):
    """DICOM objects cannot be written: the extra ``dicom`` is not installed."""

    kind = ProblemType(
        "dicom-off",
        HTTPStatus.NOT_IMPLEMENTED,
        "This service writes no DICOM",
        "DICOM objects need the extra 'dicom': pip install 'wbc-analyzer[dicom]'.",
    )


class StoreError(WbcError):
    """Something about what is kept of specimens."""

    kind = ProblemType(
        "store-error",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The store failed",
        "The store could not do this.",
    )


class UnknownDifferential(StoreError):
    """There is no differential of this id."""

    kind = ProblemType(
        "unknown-differential",
        HTTPStatus.NOT_FOUND,
        "There is no such differential",
        "There is no differential of this id.",
    )


class UnknownCell(StoreError):
    """The differential has no cell of this id."""

    kind = ProblemType(
        "unknown-cell",
        HTTPStatus.NOT_FOUND,
        "There is no such cell",
        "The differential has no cell of this id.",
    )


class IdempotencyConflict(StoreError):
    """The key was used before, for another order or other images."""

    kind = ProblemType(
        "idempotency-conflict",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This key stands for another order",
        "The Idempotency-Key was used before, for another order or other images.",
    )


class SpecimenClosed(StoreError):
    """The differential is signed or cancelled, and nothing changes it any more."""

    kind = ProblemType(
        "specimen-closed",
        HTTPStatus.CONFLICT,
        "The differential is closed",
        "The differential is signed or cancelled, and nothing changes it any more.",
    )


class CountedAlready(StoreError):
    """The cell is there already, in its field or in another: that one counts, and is decided about."""

    kind = ProblemType(
        "counted-already",
        HTTPStatus.CONFLICT,
        "The cell is counted already",
        "The cell is one of another field once more, and counted there: decide about that one.",
    )


class TooManyComments(StoreError):
    """The specimen takes no more comments."""

    kind = ProblemType(
        "too-many-comments",
        HTTPStatus.CONFLICT,
        "There are too many comments",
        "The differential has as many comments as it takes.",
    )


class ChangedMeanwhile(StoreError):
    """What the caller decides about is not any more as they saw it."""

    kind = ProblemType(
        "changed-meanwhile",
        HTTPStatus.PRECONDITION_FAILED,
        "It was changed in the meantime",
        "The cell was changed since it was read; read it again and decide anew.",
    )


class NotReady(StoreError):
    """Something comes first: cells are analysed before a signature, and an addendum comes after it."""

    kind = ProblemType(
        "not-ready",
        HTTPStatus.CONFLICT,
        "The differential is not ready",
        "Cells wait to be analysed.",
    )


class RecordAltered(StoreError):
    """What is kept of a specimen is not what its audit trail says: it was changed past the service."""

    kind = ProblemType(
        "record-altered",
        HTTPStatus.CONFLICT,
        "What is kept was changed past the service",
        "This differential was changed in the database, past the service, and is not given out: cell 3: the "
        "decision about it is not that of row 17. Run `wbc audit verify`.",
    )

    def __init__(self, what: str) -> None:
        super().__init__(
            "This differential was changed in the database, past the service, and is not given out: "
            f"{what}. Run `wbc audit verify`."
        )


class StoreUnavailable(StoreError):
    """The store cannot be reached or does not answer."""

    kind = ProblemType(
        "store-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The store is not available",
        "The store does not answer.",
        retry_after_s=5,
    )


class StoreOff(StoreError):
    """The service runs without a store, which this needs."""

    kind = ProblemType(
        "store-off",
        HTTPStatus.NOT_IMPLEMENTED,
        "This service keeps nothing",
        "Differentials need a store: set WBC_STORE__URL.",
    )


class ImageNotKept(StoreError):
    """The image of a cell was not kept, or is not kept any more."""

    kind = ProblemType(
        "image-not-kept",
        HTTPStatus.NOT_FOUND,
        "The image is not kept",
        "Images are not kept here, or not any more.",
    )


class UnknownAudit(WbcError):
    """There is no audit of a microscope of this name."""

    kind = ProblemType(
        "unknown-audit",
        HTTPStatus.NOT_FOUND,
        "There is no such audit",
        "There is no audit of this name.",
    )


class AuditRefused(WbcError):
    """The audit of a microscope does not allow this, or not now."""

    kind = ProblemType(
        "audit-refused",
        HTTPStatus.CONFLICT,
        "The audit does not allow this",
        "this audit is judged, and judged once; begin a new one",
    )


class UnknownHead(WbcError):
    """The profile has no head of this number."""

    kind = ProblemType(
        "unknown-head",
        HTTPStatus.NOT_FOUND,
        "There is no such head",
        "The profile has no head of this number.",
    )


class AdaptationRefused(WbcError):
    """A head cannot be learnt from this, or not be switched on or rolled back."""

    kind = ProblemType(
        "adaptation-refused",
        HTTPStatus.CONFLICT,
        "The head cannot be learnt, or switched",
        "my-scope.1 stays off: not better than before with 95 % confidence; give a reason of at least 10 "
        "characters to switch it on all the same",
    )


class HeadsOff(WbcError):
    """The service keeps no heads of its site."""

    kind = ProblemType(
        "heads-off",
        HTTPStatus.NOT_IMPLEMENTED,
        "This service keeps no heads",
        "Learning a microscope needs a folder for its heads: set WBC_HEADS_DIR.",
    )

    def __init__(self) -> None:
        super().__init__(self.kind.example)


class ReportWriterError(WbcError):
    """A report writer could not write; the next one speaks."""


class ConfigurationError(WbcError):
    """A setting or a device profile is missing or wrong."""


def kind_of(error: BaseException) -> ProblemType:
    """Its kind; an internal error for everything unexpected."""
    return error.kind if isinstance(error, WbcError) else INTERNAL


def kinds() -> Iterator[ProblemType]:
    """All kinds, each once; of modules that are not imported, none."""
    yield DISCONNECTED
    below: list[type[WbcError]] = [WbcError]
    for cls in below:
        if "kind" in vars(cls):
            yield cls.kind
        below.extend(cls.__subclasses__())

"""The error tree of the service.

::

    WbcError
    ├ InvalidImage: UndecodableImage · UnsupportedImage · ImageTooLarge
    ├ Overloaded                      (knows when to try again)
    ├ DeadlineExceeded                (the time that the caller gave is over)
    ├ ModelServerError: ModelServerUnavailable · ModelServerTimeout · ContractViolation
    ├ InteropError: MalformedMessage · PeerUnavailable · PeerRefused · DicomOff
    ├ StoreError: UnknownDifferential · UnknownCell · IdempotencyConflict · SpecimenClosed · NotReady ·
    │             StoreUnavailable · StoreOff · ImageNotKept
    ├ AuditError: UnknownAudit · AuditRefused
    ├ ReportWriterError               (never reaches a caller: the fallback is the rule-based writer)
    └ ConfigurationError              (settings or a device profile; raised at start)

Only :mod:`orchestrator.edge.problems` knows which status code belongs to which error.
Messages are written for the person who can do something about it and never contain file names,
paths or image content.
"""


class WbcError(Exception):
    """Base of every error that this project raises on purpose."""


class InvalidImage(WbcError):
    """The payload is not an image that can be analysed."""


class UndecodableImage(InvalidImage):
    """The format is known but the data is truncated, corrupt or empty."""


class UnsupportedImage(InvalidImage):
    """The data is of a format, or of a kind within a format, that is not supported."""


class ImageTooLarge(InvalidImage):
    """The payload has more bytes or more pixels than the settings allow."""


class Overloaded(WbcError):
    """There is more work than may be queued.

    ``retry_after_s`` is the time in seconds after which a caller may try again.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(WbcError):
    """The time that a request had is over, wherever it was spent."""


class ModelServerError(WbcError):
    """The model server could not answer."""


class ModelServerUnavailable(ModelServerError):
    """The model server cannot be reached or holds no loaded model."""


class ModelServerTimeout(ModelServerError):
    """The model server did not answer before the deadline."""


class ContractViolation(ModelServerError):
    """The served model is not the one that :mod:`orchestrator.model_contract` describes."""


class InteropError(WbcError):
    """Something between this service and a hospital's system went wrong."""


class MalformedMessage(InteropError):
    """What a peer or a caller sent is not a message of the format that it should be."""


class PeerUnavailable(InteropError):
    """The other system cannot be reached, or did not confirm in time, in all attempts."""


class PeerRefused(InteropError):
    """The other system understood and refused; the same message would be refused again."""


class DicomOff(InteropError):
    """DICOM objects cannot be written: the extra ``dicom`` is not installed."""


class StoreError(WbcError):
    """Something about what is kept of specimens."""


class UnknownDifferential(StoreError):
    """There is no differential of this id."""


class UnknownCell(StoreError):
    """The differential has no cell of this id."""


class IdempotencyConflict(StoreError):
    """The key was used before, for another order or other images."""


class SpecimenClosed(StoreError):
    """The differential is signed or cancelled, and nothing changes it any more."""


class NotReady(StoreError):
    """Cells wait to be analysed, so that the differential cannot be signed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or does not answer."""


class StoreOff(StoreError):
    """The service runs without a store, which this needs."""


class ImageNotKept(StoreError):
    """The image of a cell was not kept, or is not kept any more."""


class AuditError(WbcError):
    """Something about the audit of a microscope."""


class UnknownAudit(AuditError):
    """There is no audit of this name."""


class AuditRefused(AuditError):
    """The audit does not allow this, or not now."""


class ReportWriterError(WbcError):
    """A report writer could not write; the next one speaks."""


class ConfigurationError(WbcError):
    """A setting or a device profile is missing or wrong."""

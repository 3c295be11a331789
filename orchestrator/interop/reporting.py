"""What every format must say of a differential: how final it is, since when, and what holds it back."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from orchestrator.domain import DISCLAIMER
from orchestrator.specimen import CellResult, Differential, unverified_words

Phase = Literal["preliminary", "final", "cancelled"]

FIVE_CLASSES: Final = (
    "The model knows five classes of white cells; blasts, band forms and other immature cells are not among "
    "them and may be counted as one of the five."
)

METHOD: Final = "Classification of single-cell images by a neural network; unsure cells are left to a person"


def phase(differential: Differential) -> Phase:
    """``final`` only where a person signed."""
    specimen = differential.specimen
    if specimen.state == "cancelled":
        return "cancelled"
    if specimen.state == "signed" and specimen.signature is not None:
        return "final"
    return "preliminary"


def reported(differential: Differential) -> Differential:
    """What of a differential is told: of a cancelled one the counts of cells, and no result."""
    if phase(differential) != "cancelled":
        return differential
    counts = tuple(
        replace(count, percentage=None, interval=None, absolute=None, absolute_interval=None, flag=None)
        for count in differential.counts
    )
    return replace(differential, counts=counts, label_shift=None)


def issued_at(differential: Differential) -> datetime:
    """When what is reported came to be: its results, or the latest comment or addendum.

    Not the moment at which it is written down: the same content gives the same message.
    """
    said = (comment.said_at for comment in differential.specimen.comments)
    return max([results_at(differential), *said])


def results_at(differential: Differential) -> datetime:
    """The same of the results alone: the signature, or else the latest result or decision."""
    specimen = differential.specimen
    if specimen.signature is not None:
        return specimen.signature.signed_at
    moments = [specimen.created_at]
    for cell in specimen.cells:
        moments += [cell.result.analysed_at] if cell.result else []
        moments += [cell.decision.decided_at] if cell.decision else []
    return max(moments)


def decided_by(differential: Differential) -> tuple[str, ...]:
    """The people who decided about cells, each once, in alphabetical order."""
    return tuple(sorted({c.decision.person for c in differential.specimen.cells if c.decision}))


def profile_words(result: CellResult) -> str:
    """The device profile that decided with the model, by its name and the hash of what it said then."""
    words = f"Device profile {result.profile}"
    if result.profile_sha256 is not None:
        words += f", SHA-256 {result.profile_sha256}"
    return words if result.head is None else f"{words}, the site's head {result.head}"


def profiles(differential: Differential) -> tuple[CellResult, ...]:
    """One result for each device profile that was used, in the order of name and hash: several where the
    profile changed midway."""
    results = (cell.result for cell in differential.specimen.cells if cell.result is not None)
    found = {(r.profile, r.profile_sha256 or "", r.head or ""): r for r in results}
    return tuple(found[key] for key in sorted(found))


def has_percentages(differential: Differential) -> bool:
    """Whether enough cells were counted."""
    return any(count.percentage is not None for count in differential.counts)


def notes(differential: Differential) -> tuple[str, ...]:
    """What a reader must know, as sentences; the first is the one that every output carries."""
    said = [DISCLAIMER, FIVE_CLASSES]
    counted, waiting = differential.cells_counted, len(differential.review_list)
    if phase(differential) == "cancelled":
        said.append("Cancelled: there is no result, and what was sent before is void.")
    elif not has_percentages(differential):
        said.append(
            f"No percentages: {counted} cells were counted, and at least {differential.min_cells} are needed."
        )
    if (unverified := unverified_words(differential.specimen.device_state)) is not None:
        said.append(unverified)
    said += reported(differential).audit_sentences().values()
    said += differential.label_sentences().values()
    if waiting:
        said.append(f"{waiting} of {counted} cells wait for a person and are counted as unidentified.")
    if differential.cells_waiting:
        said.append(f"{differential.cells_waiting} images wait for their analysis.")
    if differential.cells_failed:
        said.append(f"{differential.cells_failed} images could not be analysed and are not counted.")
    if len(differential.models) > 1:
        said.append("More than one model answered, as a version changed midway.")
    if any(count.absolute is not None for count in differential.counts):
        total = number(differential.specimen.order.total_wbc or 0)
        said.append(
            f"Absolute counts rest on a total of {total} 10*3/uL "
            "that was given with the order; their intervals hold the error of the share alone."
        )
    if differential.reference_source and any(count.reference for count in differential.counts):
        said.append(f"Reference ranges: {differential.reference_source}.")
    return tuple(said)


def remarks(differential: Differential) -> tuple[str, ...]:
    """What people wrote beside the results, with who and when, in the order in which they did."""
    numbers = {cell.cell_id: cell.number for cell in differential.specimen.cells}
    said = []
    for comment in differential.specimen.comments:
        what = "Addendum" if comment.is_addendum else "Comment"
        if (at := numbers.get(comment.cell_id or "")) is not None:
            what += f" on cell {at}"
        said_at = comment.said_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        said.append(f"{what} ({comment.person}, {said_at}): {comment.text}")
    return tuple(said)


def number(value: float, digits: int = 3) -> str:
    """A decimal number without an exponent and without zeros at its end: ``12.5``, ``0``, ``7``."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text

"""The table in which a person labels the cells of an audit: names of images, and a column to fill in.

It holds nothing of the answers, and its order is none of theirs. Spreadsheets may save it with commas or,
where a comma is the decimal sign, with semicolons.
"""

import csv
import io
from typing import Final

from orchestrator.device_audits.audit import LABELS, MAX_FILE_BYTES, Audit
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.interop.csv_tables import safe

COLUMNS: Final = ("image", "label", "image_sha256", "disclaimer")
_BY_LOWER: Final = {label.lower(): label for label in LABELS}


def labels_form(audit: Audit) -> str:
    """A row for each cell, with the label that a person has given already."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for cell in audit.to_be_labelled():
        label = audit.labels.get(cell.image_sha256, "")
        writer.writerow([safe(cell.image), label, cell.image_sha256, DISCLAIMER])
    return out.getvalue()


def read_labels(content: bytes) -> dict[str, str]:
    """The labels of a filled table by the hash of the image; rows without a label are left out.

    Raises ``ConfigurationError``, with the row, where it is not such a table.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"expected at most {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError("expected CSV in UTF-8; choose that when you save it") from error
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if header.count(";") > header.count(",") else ",")
    labels: dict[str, str] = {}
    try:
        if not {"label", "image_sha256"} <= set(rows.fieldnames or ()):
            raise ConfigurationError("expected the columns label and image_sha256 in the first row")
        for row in rows:
            said = (row["label"] or "").strip()
            if not said:
                continue
            if (label := _BY_LOWER.get(said.lower())) is None:
                raise ConfigurationError(
                    f"row {rows.line_num}: expected one of {', '.join(LABELS)}, received {said[:60]!r}"
                )
            image_sha256 = (row["image_sha256"] or "").strip()
            if labels.setdefault(image_sha256, label) != label:
                raise ConfigurationError(f"row {rows.line_num}: the same image has another label above")
    except csv.Error as error:
        raise ConfigurationError(f"row {rows.line_num}: no CSV ({error})") from error
    return labels

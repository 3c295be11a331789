"""The tables; :mod:`orchestrator.store.migrations` makes them and the triggers that guard the audit trail.

Times are ISO 8601 in UTC as text, and documents are JSON as text: both read back to the last digit on every
database, which the hashes of the audit trail rest on.
"""

from typing import Final

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData()

SEARCHED: Final = "searched"
"""State of the row of a field once its cells, which have rows of their own, are found."""

SPECIMENS: Final = Table(
    "specimens",
    METADATA,
    Column("place", Integer, primary_key=True, autoincrement=True),
    Column("differential_id", String(32), nullable=False, unique=True),
    Column("specimen_id", Text, nullable=False),  # encrypted where there is a key
    Column("total_wbc", Float),
    Column("profile", String(64)),
    Column("tta", String(16)),
    Column("state", String(16), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("signed_by", Text),
    Column("signed_at", String(40)),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("name_key", String(64), index=True),  # of specimen_id, to be found by; NULL until it is known
    Column("kind", String(8)),  # of its images; NULL where each is a cell
    Column("unreviewed", Integer, nullable=False, server_default="0"),
    Column("assignee", Text),  # who has taken it; NULL where nobody has
    # What the worklist is sorted by, within one state: a page reads no row that it does not tell of.
    Index("ix_specimens_created", "state", "created_at", "place"),
    Index("ix_specimens_doubt", "state", "unreviewed", "place"),
    Index("ix_specimens_assignee_created", "assignee", "state", "created_at", "place"),
    Index("ix_specimens_assignee_doubt", "assignee", "state", "unreviewed", "place"),
)
"""``place`` is the order in which they came; ``version`` rises with every change. ``unreviewed``, the number
of cells that wait for a person's decision, is counted by triggers on the cells, whichever version writes."""

CELLS: Final = Table(
    "cells",
    METADATA,
    Column("cell_id", String(32), primary_key=True),
    Column(
        "differential_id",
        String(32),
        ForeignKey("specimens.differential_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("number", Integer, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("result", Text),
    Column("failure", Text),
    Column("label", String(64)),
    Column("decided_by", Text),
    Column("decided_at", String(40)),
    Column("payload", LargeBinary),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("lease_token", Integer, nullable=False, server_default="0"),
    Column(
        "leased_until", Float
    ),  # seconds since 1970 by the database's clock; NULL where nobody works on it
    Column("version", Integer, nullable=False, server_default="0"),
    Column("needs_review", Integer, nullable=False, server_default="0"),  # whether its result asks for one
    Column("found_in", Integer),  # number of the field; NULL of what was sent
    Column("mark", LargeBinary),  # of a field's cell, encrypted, as long as others wait
    UniqueConstraint("differential_id", "number", name="uq_cells_number"),
    # All that a list counts, so that no row is read for it: results and images lie in the rows.
    Index("ix_cells_summary", "differential_id", "state", "needs_review", "label"),
)

COMMENTS: Final = Table(
    "comments",
    METADATA,
    Column(
        "differential_id",
        String(32),
        ForeignKey("specimens.differential_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cell_id", String(32)),  # NULL of one on the specimen
    Column("person", Text, nullable=False),
    Column("said_at", String(40), nullable=False),
    Column("text", Text, nullable=False),  # encrypted where there is a key
    Column("is_addendum", Integer, nullable=False),
)
"""Rows are added, and never changed."""

ORDER_KEYS: Final = Table(
    "order_keys",
    METADATA,
    Column("actor", String(255), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column(
        "differential_id",
        String(32),
        ForeignKey("specimens.differential_id", ondelete="CASCADE"),
        nullable=False,
    ),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("differential_id", String(32), index=True),
    Column("cell_id", String(32)),
    Column("details", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("row_hash", String(64), nullable=False),
)
"""Rows are added, and never changed or removed; no foreign key, since it outlives what it tells of."""

AUDIT_HEAD: Final = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, nullable=False),
    Column("row_hash", String(64), nullable=False),
)
"""One row: number and hash of the last row, so that a tail cut off is missed. Who writes locks it."""

CLOCK: Final = Table(
    "clock",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("known_at", String(40), nullable=False),
)
"""At most one row: the newest time of day that retention holds for right."""

"""Specimens, their cells, and the audit trail with its guards."""

from alembic import op
from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    insert,
    table,
)
from sqlalchemy import column as named

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQLITE_GUARDS = [
    f"""CREATE TRIGGER audit_no_{what.lower()} BEFORE {what} ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"""
    for what in ("UPDATE", "DELETE")
]

_POSTGRESQL_GUARDS = [
    """CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$""",
    """CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
       FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()""",
    """CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
       FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()""",
]


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "specimens",
        Column("place", Integer, primary_key=True, autoincrement=True),
        Column("differential_id", String(32), nullable=False, unique=True),
        Column("specimen_id", Text, nullable=False),
        Column("total_wbc", Float),
        Column("profile", String(64)),
        Column("tta", String(16)),
        Column("state", String(16), nullable=False),
        Column("created_by", Text, nullable=False),
        Column("created_at", String(40), nullable=False),
        Column("signed_by", Text),
        Column("signed_at", String(40)),
    )
    op.create_table(
        "cells",
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
        Column("label", String(16)),
        Column("decided_by", Text),
        Column("decided_at", String(40)),
        Column("payload", LargeBinary),
        UniqueConstraint("differential_id", "number", name="uq_cells_number"),
    )
    op.create_index("ix_cells_state", "cells", ["differential_id", "state"])
    op.create_table(
        "order_keys",
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
    op.create_table(
        "audit",
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        Column("at", String(40), nullable=False),
        Column("actor", Text, nullable=False),
        Column("action", String(32), nullable=False),
        Column("differential_id", String(32)),
        Column("cell_id", String(32)),
        Column("details", Text, nullable=False),
        Column("previous_hash", String(64), nullable=False),
        Column("row_hash", String(64), nullable=False),
    )
    op.create_index("ix_audit_differential_id", "audit", ["differential_id"])
    op.create_table(
        "audit_head",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("sequence", Integer, nullable=False),
        Column("row_hash", String(64), nullable=False),
    )
    head = table("audit_head", named("id"), named("sequence"), named("row_hash"))
    op.execute(insert(head).values(id=1, sequence=0, row_hash="0" * 64))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for guard in _SQLITE_GUARDS if is_sqlite else _POSTGRESQL_GUARDS:
        op.execute(guard)

"""What people write about cells and specimens."""

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, String, Text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    specimen = ForeignKey("specimens.differential_id", ondelete="CASCADE")
    op.create_table(
        "comments",
        Column("differential_id", String(32), specimen, primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("cell_id", String(32)),
        Column("person", Text, nullable=False),
        Column("said_at", String(40), nullable=False),
        Column("text", Text, nullable=False),
        Column("is_addendum", Integer, nullable=False),
    )

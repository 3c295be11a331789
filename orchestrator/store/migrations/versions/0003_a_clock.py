"""The last time of day that retention knows to be right.

What the rows of the audit trail carry of their specimens, they carry from this version on; older rows stay as
they are, and what they lack is told by ``wbc audit verify``.
"""

from alembic import op
from sqlalchemy import Column, Integer, String

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make its place; the first look of retention fills it."""
    op.create_table(
        "clock",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("known_at", String(40), nullable=False),
    )

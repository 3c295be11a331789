"""Cells that were found in fields."""

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, String

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; what was ordered before are cells."""
    op.add_column("specimens", Column("kind", String(8)))
    op.add_column("cells", Column("found_in", Integer))
    op.add_column("cells", Column("mark", LargeBinary))

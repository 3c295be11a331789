"""How often the analysis of a cell was begun and not ended."""

from alembic import op
from sqlalchemy import Column, Integer

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; what waits counts as never begun."""
    op.add_column("cells", Column("attempts", Integer, nullable=False, server_default="0"))

"""Who works on a cell, and until when."""

from alembic import op
from sqlalchemy import Column, Float, Integer

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; nobody works on anything."""
    op.add_column("cells", Column("lease_token", Integer, nullable=False, server_default="0"))
    op.add_column("cells", Column("leased_until", Float))

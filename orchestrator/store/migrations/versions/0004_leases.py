"""Who works on a cell and until when; how often a specimen was changed; and what a list counts and finds."""

from alembic import op
from sqlalchemy import Column, Float, Integer, String

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NO_REASONS = '%"review_codes": []%'
"""In a result that asks for no review, as :mod:`orchestrator.store.documents` writes it."""


def upgrade() -> None:
    """Add it; nobody works on anything. Names are keyed by the next start, which knows the cipher."""
    op.add_column("cells", Column("lease_token", Integer, nullable=False, server_default="0"))
    op.add_column("cells", Column("leased_until", Float))
    for table in ("specimens", "cells"):
        op.add_column(table, Column("version", Integer, nullable=False, server_default="0"))
    op.add_column("cells", Column("needs_review", Integer, nullable=False, server_default="0"))
    op.execute(
        f"UPDATE cells SET needs_review = 1 WHERE result IS NOT NULL AND result NOT LIKE '{_NO_REASONS}'"
    )
    op.drop_index("ix_cells_state", "cells")
    op.create_index("ix_cells_summary", "cells", ["differential_id", "state", "needs_review", "label"])
    op.add_column("specimens", Column("name_key", String(64)))
    op.create_index("ix_specimens_name_key", "specimens", ["name_key"])

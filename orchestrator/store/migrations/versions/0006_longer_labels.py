"""Labels of cells that have more letters than those of the model's classes."""

from alembic import op
from sqlalchemy import String

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the column, which rewrites no row; SQLite never held it to a length."""
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("cells", "label", type_=String(64), existing_type=String(16))

"""What the worklist is sorted and filtered by: how many cells wait for a person, and who has a specimen."""

from alembic import op
from sqlalchemy import Column, Integer, Text, text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_WAITS = "{0}.needs_review = 1 AND {0}.label IS NULL"
_NEW, _OLD = _WAITS.format("NEW"), _WAITS.format("OLD")

# Triggers, since replicas of the version before write beside those of this one while an upgrade is under way.
_SQLITE = [
    f"""CREATE TRIGGER cells_unreviewed_new AFTER INSERT ON cells WHEN {_NEW}
        BEGIN UPDATE specimens SET unreviewed = unreviewed + 1
              WHERE differential_id = NEW.differential_id; END""",
    f"""CREATE TRIGGER cells_unreviewed_changed AFTER UPDATE OF needs_review, label ON cells
        WHEN ({_NEW}) <> ({_OLD})
        BEGIN UPDATE specimens SET unreviewed = unreviewed + ({_NEW}) - ({_OLD})
              WHERE differential_id = NEW.differential_id; END""",
]
_POSTGRESQL = [
    f"""CREATE FUNCTION count_unreviewed() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN UPDATE specimens SET unreviewed = unreviewed + CASE WHEN {_NEW} THEN 1 ELSE -1 END
                WHERE differential_id = NEW.differential_id; RETURN NULL; END $$""",
    f"""CREATE TRIGGER cells_unreviewed_new AFTER INSERT ON cells
       FOR EACH ROW WHEN ({_NEW}) EXECUTE FUNCTION count_unreviewed()""",
    f"""CREATE TRIGGER cells_unreviewed_changed AFTER UPDATE OF needs_review, label ON cells
       FOR EACH ROW WHEN (({_NEW}) <> ({_OLD})) EXECUTE FUNCTION count_unreviewed()""",
]


def upgrade() -> None:
    """Add it, count what waits, and go on counting; nobody has taken anything."""
    op.add_column("specimens", Column("unreviewed", Integer, nullable=False, server_default="0"))
    op.add_column("specimens", Column("assignee", Text))
    waits = _WAITS.format("cells")
    op.execute(
        f"""UPDATE specimens SET unreviewed = (SELECT count(*) FROM cells
            WHERE cells.differential_id = specimens.differential_id AND {waits})"""
    )
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE if is_sqlite else _POSTGRESQL:
        op.execute(statement)
    # Times are sorted as the text that they are, not by the rules of some language.
    created = "created_at" if is_sqlite else text('created_at COLLATE "C"')
    for sort, columns in (("created", [created, "place"]), ("doubt", ["unreviewed", "place"])):
        op.create_index(f"ix_specimens_{sort}", "specimens", ["state", *columns])
        op.create_index(f"ix_specimens_assignee_{sort}", "specimens", ["assignee", "state", *columns])

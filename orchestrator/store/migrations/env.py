"""Runs the revisions on the connection that :mod:`orchestrator.store.database` gives."""

from alembic import context

from orchestrator.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()

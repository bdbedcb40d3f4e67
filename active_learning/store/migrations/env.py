"""Alembic runs inside the connection that `database.upgrade` opened: one transaction, one lock."""

from alembic import context

from active_learning.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()

"""Alembic's entry: one transaction, one migration at a time (two pods may start at once)."""

from alembic import context
from sqlalchemy import text

from auricle.schema import metadata

connection = context.config.attributes["connection"]
connection.execute(text("select pg_advisory_xact_lock(7001)"))  # a transaction's lock: fine behind pgbouncer
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's entry: one transaction, one migration at a time (two pods may start at once).

Functions of two releases run side by side, so the schema changes in two steps that lie a release apart:

* **Expand** (`versions/`, run by the job `migrate` before a release's functions start): what the new release needs is added,
  and nothing is taken from the one before it. Tables, columns that are null or have a default, indexes. It drops, renames,
  narrows and empties nothing; `tests/house/test_expand_only.py` holds every one of them to that.
* **Contract** (`contractions/`, run by the job `contract` once no function of an earlier release is left): what no release
  reads any more goes. These revisions are a line of their own with a version table of their own (`alembic_contractions`), so
  that `migrate` cannot run one. Each says in its docstring which release stopped reading what it takes away.

A new database is made by all of the first and then all of the second.
"""

from alembic import context
from sqlalchemy import text

from auricle.schema import metadata

connection = context.config.attributes["connection"]
connection.execute(text("select pg_advisory_xact_lock(7001)"))  # a transaction's lock: fine behind pgbouncer
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,
    version_table=context.config.attributes.get("version_table", "alembic_version"),
)
with context.begin_transaction():
    context.run_migrations()

"""The database's shape. Rooms describe tables on `metadata`; Alembic changes the database, expand first, contract later."""

from sqlalchemy import MetaData

metadata = MetaData()

"""The database's shape. Rooms describe their tables on `metadata`; Alembic changes the database, expand first, contract a release later."""

from sqlalchemy import MetaData

metadata = MetaData()

"""A database per tenant on one PostgreSQL server: `databases` does, `shape` decides, `names` and `verifiers` say how."""

from auricle_operator.adapters.postgres.databases import PostgresDatabases

__all__ = ["PostgresDatabases"]

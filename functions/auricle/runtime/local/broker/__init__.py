"""The laptop's event broker: a durable queue on Postgres tables that keeps the rules of a Knative Broker.

One small process, `python -m auricle.runtime.local.broker PLAN.json`. One loop does all I/O with the outside; three threads
speak to the database (`lines`), because its driver blocks. The process is the only writer of its tables: what is under way
is known in memory, what is not finished is in the tables, and a restart begins with the tables.

From the outside in: `server` → `ingress` → `hub` → `lane` (one per subscription) → `workers` and `client`; `ledger` keeps.
"""

"""`auricle tenants …`: the operator's command, under this roof too (it is also `kubectl auricle …`)."""

from __future__ import annotations

from auricle_operator.cli import main as tenants

__all__ = ["tenants"]

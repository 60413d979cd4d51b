"""Tenants: what a namespace of one holds, and bringing it about."""

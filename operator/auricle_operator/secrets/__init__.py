"""Managed secrets: versions, exchange without a pause, and a master copy."""

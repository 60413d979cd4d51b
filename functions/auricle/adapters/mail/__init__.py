"""Adapters of `ports.mail`."""

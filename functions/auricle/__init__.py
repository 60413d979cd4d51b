"""Auricle: a self-hosted vault for recordings and documents. `functions/README.md` is the map."""

__version__ = "0.1.0"

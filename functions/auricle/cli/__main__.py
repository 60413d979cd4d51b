"""`python -m auricle.cli`, for those who start it without its script."""

from __future__ import annotations

from auricle.cli import main

main(prog_name="auricle")

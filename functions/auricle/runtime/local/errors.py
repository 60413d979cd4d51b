"""What stops the embedded host from starting."""

from __future__ import annotations

from auricle.errors import AuricleError


class CannotStart(AuricleError):
    """The host cannot start (or go on); the sentence says what a person can do about it."""

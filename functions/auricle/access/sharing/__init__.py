"""Sharing: who was given what on a file, by whom, and until when."""

"""Intake: how bytes get in. Uploads in parts, objects that arrive by themselves, preparation."""

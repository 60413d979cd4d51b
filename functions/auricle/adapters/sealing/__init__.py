"""How what is kept is encrypted."""

"""The embedded host: the same functions on a laptop, with nothing but Python."""

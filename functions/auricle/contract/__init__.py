"""What a function IS: declarations, events, HTTP words. Standard library and msgspec; no I/O."""

"""Doors and hosts: everything between a function's plain Python and the outside."""

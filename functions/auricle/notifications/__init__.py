"""Notifications: telling people what happens, while it happens."""

"""Admin: what an operator looks at. Health, dead letters."""

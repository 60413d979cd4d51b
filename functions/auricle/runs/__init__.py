"""Runs: one execution of the pipeline on one file; its steps, its conductor."""

"""Warm speech models within one device's memory; the same code serves CPU."""

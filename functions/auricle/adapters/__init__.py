"""Mirrors `ports`, one technology per file: imported by `runtime.wiring` and `auricle_gpu` when a signature names it."""

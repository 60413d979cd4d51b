"""Mirrors `ports`, one technology per file. Only `runtime.wiring` (and `auricle_gpu`) imports these, and only when a function names the port."""

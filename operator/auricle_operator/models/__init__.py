"""Model caches: verified copies of speech models on nodes."""

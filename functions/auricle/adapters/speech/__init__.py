"""Technologies behind `ports.speech`."""

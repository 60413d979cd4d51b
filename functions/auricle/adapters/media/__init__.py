"""Technologies behind `ports.media`."""

"""What speech was announced, so that pools are warm in time."""

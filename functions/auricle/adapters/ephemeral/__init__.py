"""Where identity remembers things for a while: PostgreSQL by default, Redis for those who have many requests."""

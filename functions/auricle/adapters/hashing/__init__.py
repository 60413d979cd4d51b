"""Technologies behind `ports.hashing`: Argon2id."""

"""Access: who asks, with which token, and what it allows."""

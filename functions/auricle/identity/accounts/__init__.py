"""How people come in, change and go: links in letters, invitations, registration, and what administrators do for them."""

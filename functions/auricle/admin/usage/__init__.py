"""What a deployment has taken of what it may."""

"""The ways to sign in by another house as administrators set them up: providers, directories, certificates, a header."""

"""The notice that everybody acknowledges before anything else is answered (NIST 800-53 AC-8)."""

"""The audit trail: who did what, when, from where, with which outcome; kept so that tampering shows (NIST AU-2, 3, 9, 10)."""

"""Service accounts: programs that act for nobody but themselves."""

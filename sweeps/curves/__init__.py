"""`run.py shift --sweep`: scores against the strength of a shift."""

"""`run.py data`: looking at, checking and converting real data."""

"""`run.py table`: methods by targets."""

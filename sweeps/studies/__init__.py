"""`run.py sweep`: Optuna over many federations."""

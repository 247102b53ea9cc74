"""`run.py shift`: an interactive session about domain shift."""

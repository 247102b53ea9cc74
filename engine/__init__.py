"""Federated learning: rounds, algorithms, cohorts. Knows nothing of image files, scanners or Optuna."""

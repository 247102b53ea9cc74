"""What a run looks like: figures, and report.html."""

"""Evaluation: predictions against ground truth, under protocols that say what was aligned."""

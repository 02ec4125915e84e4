"""Losses: pure functions of predictions and targets; they know nothing of models or files."""

"""Weights: find, download, verify and load them strictly; say what they are and what they allow."""

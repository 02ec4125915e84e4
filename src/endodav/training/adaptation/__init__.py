"""Self-supervised adaptation: depth, motion and light learned from unlabelled video alone."""

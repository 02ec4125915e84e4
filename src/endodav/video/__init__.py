"""Video in and out: any input as a lazy source of frames, depth into any output format."""

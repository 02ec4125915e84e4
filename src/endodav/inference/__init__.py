"""Long-video and streaming inference; see `estimator.DepthEstimator`."""

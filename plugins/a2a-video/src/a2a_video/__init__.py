"""Video encoders for a2a."""

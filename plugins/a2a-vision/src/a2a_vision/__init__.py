"""Image encoders for a2a."""

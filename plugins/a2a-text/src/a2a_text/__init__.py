"""Text encoders for a2a."""

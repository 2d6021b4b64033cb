"""Point clouds for a2a."""

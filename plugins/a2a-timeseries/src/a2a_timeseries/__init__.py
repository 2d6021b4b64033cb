"""Series of sensors for a2a."""

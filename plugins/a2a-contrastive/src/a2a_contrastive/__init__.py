"""What belongs together lies together: a head and a loss that align two modalities."""

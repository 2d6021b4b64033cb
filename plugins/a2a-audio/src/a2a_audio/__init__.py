"""Sound to tokens: the encoders `log-mel` and `hf-audio`."""

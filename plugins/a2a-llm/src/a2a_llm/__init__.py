"""Between encoders and a language model: projectors."""

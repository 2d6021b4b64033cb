"""Fusions: many modalities, any of them missing, to one sequence and one vector a sample."""

"""Language models and whole multimodal ones: fusions, projectors before them, the head `lm`, its loss and metrics, exports."""

"""Adapters: a model changed in place, so that few of its weights are trained."""

"""Launcher `ray`, and what it starts: a run on a Ray cluster, through Ray Train."""

from a2a_ray.driver import main

__all__ = ["main"]

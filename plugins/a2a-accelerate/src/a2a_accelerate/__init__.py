"""Backends `single` and `ddp`."""

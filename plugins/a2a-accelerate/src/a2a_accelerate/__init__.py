"""Backends `single` and `ddp`, and what other backends with several ranks build on."""

from a2a_accelerate.ranks import RanksBackend
from a2a_accelerate.single import compare, on_cpu, prepare

__all__ = ["RanksBackend", "compare", "on_cpu", "prepare"]

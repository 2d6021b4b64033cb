"""Backends `single` and `ddp`, and what other backends with several ranks build on."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a2a_accelerate.buffers import Buffers
    from a2a_accelerate.ranks import RanksBackend
    from a2a_accelerate.single import compare, on_cpu, prepare

__all__ = ["Buffers", "RanksBackend", "compare", "on_cpu", "prepare"]
PLACES = {"Buffers": "buffers", "RanksBackend": "ranks"}


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: whoever lists plugins imports this package, too."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"a2a_accelerate.{PLACES.get(name, 'single')}"), name)

"""Launcher `ray`, and what it starts: a run on a Ray cluster, through Ray Train."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a2a_ray.driver import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: whoever lists plugins imports this package, too."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from a2a_ray import driver

    return getattr(driver, name)

"""What ranks tell one another: alone, a process is the only one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

from a2a_core.errors import RunFailed

T = TypeVar("T")


def together() -> bool:
    """More than one rank."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This one's number."""
    return dist.get_rank() if together() else 0


def first_rank() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def ranks() -> int:
    """How many there are."""
    return dist.get_world_size() if together() else 1


def gathered(value: T) -> list[T]:
    """Every rank's, by rank."""
    if not together():
        return [value]
    found: list[Any] = [None] * ranks()
    dist.all_gather_object(found, value)
    return found


def first(value: T) -> T:
    """The first rank's."""
    return gathered(value)[0]


def agreed(action: Callable[[], T], alike: type[Exception] | tuple[()] = ()) -> T:
    """Do it on every rank; where one fails, none goes on to wait for it.

    What is `alike` is raised on all of them. Of anything else, the rank that failed raises it, and the others RunFailed.
    """
    problem, value = None, None
    try:
        value = action()
    except Exception as error:  # whatever it is, the others wait for this rank's word
        problem = error
    passed = problem is None or isinstance(problem, alike)
    told = gathered(problem if passed else f"{type(problem).__name__}: {problem}")
    if problem is not None and not passed:
        raise problem
    for place, each in enumerate(told):
        if isinstance(each, str):
            raise RunFailed(f"rank {place} failed: {each}")
    for each in told:
        if isinstance(each, Exception):
            raise each
    return value  # type: ignore[return-value]

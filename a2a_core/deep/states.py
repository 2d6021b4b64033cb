"""What an optimizer keeps for each parameter, by doing a step on fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from a2a_core.deep.fakes import Fakes, bytes_of, every_tensor
from a2a_core.deep.ledger import Ledger
from a2a_core.model import A2AModel


class States(NamedTuple):
    """Bytes of an optimizer."""

    kept: int
    """From one step to the next."""
    passing: int
    """More than that, while it does a step."""


def measure(fakes: Fakes, model: A2AModel, build: Callable[[A2AModel], Any]) -> States:
    """Two steps: the first makes the states, the second shows what comes and goes. A2AError where there is no optimizer.

    Parameters of the same shape are done once: a large model has few shapes.
    """
    with fakes.mode:
        optimizer = build(model)
        alike = counted(optimizer)
        trained = [alone for alone, _ in alike]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        whole = stepped(optimizer, trained)
        kept = sum(several * bytes_of(states(optimizer, parameter)) for parameter, several in alike)
        ledger = fleeting(optimizer, model, trained) if whole else None
        for parameter in trained:
            parameter.grad = None
    passing = ledger.peaks.first if ledger else 0
    if fakes.device.type == "cuda":  # there torch's optimizers work on all parameters at once
        passing = max(passing, bytes_of(parameter for parameter in model.parameters() if parameter.requires_grad))
    return States(kept, passing)


def counted(optimizer: Any) -> list[tuple[Tensor, int]]:
    """One parameter of each shape in each group, and how many there are; the optimizer keeps those alone."""
    found = []
    for group in optimizer.param_groups:
        shapes: dict[Any, list[Tensor]] = {}
        for parameter in group["params"]:
            shapes.setdefault((parameter.shape, parameter.dtype), []).append(parameter)
        group["params"] = [same[0] for same in shapes.values()]
        found += [(same[0], len(same)) for same in shapes.values()]
    return found


def stepped(optimizer: Any, trained: Sequence[Tensor]) -> bool:
    """Do a first step.

    An optimizer that looks at values fails, but only after it has made a parameter's states: then one parameter at a time.
    """
    try:
        optimizer.step()
        return True
    except Exception:  # each optimizer has its own
        gradients = [parameter.grad for parameter in trained]
        for parameter in trained:
            parameter.grad = None
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
            with suppress(Exception):
                optimizer.step()
            parameter.grad = None
        return False


def fleeting(optimizer: Any, model: A2AModel, trained: Sequence[Tensor]) -> Ledger:
    """What a step takes and gives back."""
    kept = [tensor for parameter in trained for tensor in states(optimizer, parameter)]
    ledger = Ledger([*every_tensor(model), *kept, *(parameter.grad for parameter in trained if parameter.grad is not None)])
    with ledger:
        optimizer.step()
    return ledger


def states(optimizer: Any, parameter: Tensor) -> list[Tensor]:
    """The tensors that it keeps for a parameter."""
    return [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, Tensor)]

"""Which modules gather their weights together, and which parameters stay whole on every rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn


class Units(NamedTuple):
    """How a model is divided."""

    modules: list[nn.Module]
    """Those whose own parameters are gathered at once, innermost first, the model last."""
    whole: set[nn.Parameter]
    """Parameters that are not sharded."""


def divided(model: Any, frozen: bool) -> Units:
    """Each part is a unit, and in each part its repeated layers are.

    What is left of the fusion belongs to the model, which keeps it from forward to backward: the fusion lends its output
    layer to the heads. So do losses, which the gradient cache computes between the two. Whole stay frozen parameters, unless
    `frozen` ones are sharded, too; numbers (shape ()); what several units share; and, where one module has trainable
    parameters of several data types, the rarer ones.
    """
    modules = [*candidates(model), model]
    owners = Counter(each for unit in modules for each in owned(unit, modules))
    whole = {each for each, several in owners.items() if several > 1 or not each.ndim or not (each.requires_grad or frozen)}
    losses = set(model.losses.modules())
    for unit in list(modules):
        types = Counter[torch.dtype]()
        for each in owned(unit, modules) - whole:
            types[each.dtype] += each.numel() if each.requires_grad else 0
        usual = types.most_common(1)[0][0] if types else torch.float32
        for module in of_other_types(unit, modules, usual):
            if module in losses or len({each.dtype for each in owned(module, modules) - whole}) > 1:
                whole.update(each for each in module.parameters(recurse=False) if each.dtype != usual)
            else:
                modules.insert(modules.index(unit), module)
    return Units([unit for unit in modules if unit is model or owned(unit, modules) - whole], whole)


def candidates(model: Any) -> Iterator[nn.Module]:
    """Parts and their repeated layers."""
    for part in (*model.encoders.values(), *model.projectors.values(), *model.heads.values(), model.fusion):
        yield from layers(part)
        if part is not model.fusion:
            yield part


def layers(part: nn.Module) -> Iterator[nn.Module]:
    """A part's repeated layers: several modules of one class in a list, with modules in them; not those within those."""
    for child in part.children():
        blocks = list(child.children()) if isinstance(child, nn.ModuleList) else []
        if len(blocks) > 1 and len({type(each) for each in blocks}) == 1 and any(True for _ in blocks[0].children()):
            yield from blocks
        else:
            yield from layers(child)


def owned(unit: nn.Module, units: Container[nn.Module]) -> set[nn.Parameter]:
    """A unit's parameters but those of units within it."""
    return {each for module in modules_of(unit, units) for each in module.parameters(recurse=False)}


def modules_of(unit: nn.Module, units: Container[nn.Module]) -> Iterator[nn.Module]:
    """A unit and the modules within it, but units and what is within those."""
    yield unit
    for child in unit.children():
        if child not in units:
            yield from modules_of(child, units)


def of_other_types(unit: nn.Module, units: Container[nn.Module], usual: torch.dtype) -> list[nn.Module]:
    """Modules with trainable parameters of their own of another data type: what is gathered at once has one type."""
    return [
        module
        for module in modules_of(unit, units)
        if any(each.requires_grad and each.dtype != usual for each in module.parameters(recurse=False))
    ]

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
    modules = [*dict.fromkeys(candidates(model)), model]
    owners = Counter(each for unit in modules for each in owned(unit, modules))
    whole = {each for each, several in owners.items() if several > 1 or not each.ndim or not (each.requires_grad or frozen)}
    for unit in list(modules):
        sizes = Counter[torch.dtype]()
        for each in trained(unit, modules, whole):
            sizes[each.dtype] += each.numel()
        if len(sizes) > 1:
            usual, place = sizes.most_common(1)[0][0], modules.index(unit)
            modules[place:place] = of_another_type(unit, [*modules, model.losses], whole, usual)
            whole.update(each for each in trained(unit, modules, whole) if each.dtype != usual)
    return Units([unit for unit in modules if unit is model or set(owned(unit, modules)) - whole], whole)


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
        alike = len(blocks) > 1 and len({type(each) for each in blocks}) == 1
        if alike and computes(blocks[0]) and any(True for _ in blocks[0].children()):
            yield from blocks
        else:
            yield from layers(child)


def computes(module: nn.Module) -> bool:
    """It has a forward pass: lists and dicts of modules do not."""
    return type(module).forward is not nn.Module.forward


def owned(unit: nn.Module, units: Container[nn.Module]) -> list[nn.Parameter]:
    """A unit's parameters but those of units within it, on every rank in the same order."""
    return list(dict.fromkeys(each for module in modules_of(unit, units) for each in module.parameters(recurse=False)))


def trained(unit: nn.Module, units: Container[nn.Module], whole: set[nn.Parameter]) -> list[nn.Parameter]:
    """Those of its own whose gradients are exchanged with it."""
    return [each for each in owned(unit, units) if each.requires_grad and each not in whole]


def modules_of(unit: nn.Module, units: Container[nn.Module]) -> Iterator[nn.Module]:
    """A unit and the modules within it, but units and what is within those."""
    yield unit
    for child in unit.children():
        if child not in units:
            yield from modules_of(child, units)


def of_another_type(
    unit: nn.Module, units: Container[nn.Module], whole: set[nn.Parameter], usual: torch.dtype
) -> Iterator[nn.Module]:
    """The outermost modules in a unit that train nothing but one other data type: what is gathered at once has one."""
    for child in unit.children():
        types = {each.dtype for each in trained(child, units, whole)} if child not in units else set()
        if len(types) == 1 and usual not in types and computes(child):
            yield child
        elif types:
            yield from of_another_type(child, units, whole, usual)

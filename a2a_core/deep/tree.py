"""The tree of parts: what each holds, makes and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from a2a_core.builtin.linear import LinearProjector
from a2a_core.deep.report import Part
from a2a_core.deep.standing_in import parts_of
from a2a_core.deep.tracing import Trace
from a2a_core.model import A2AModel
from a2a_core.options import Component
from a2a_core.plugins import Catalog


def tree(model: A2AModel, grouped: Mapping[str, str], found: Trace | None, catalog: Catalog) -> list[Part]:
    """Every part of the model, in the order that they run; shapes and arithmetic where it could be traced."""
    shapes = found.shapes if found else {}
    flops = found.flops if found else {}
    rows = []
    for path, module in parts_of(model):
        inputs, outputs = shapes.get(path, ({}, {}))
        named = {f"{path}.{name}": each for name, each in module.named_parameters()}
        rows.append(
            Part(
                path=path,
                use=catalog.qualified(type(config(model, path))),
                inputs=inputs,
                outputs=outputs,
                parameters=count(named.values()),
                trainable=count(each for each in named.values() if each.requires_grad),
                groups=sorted({grouped[name] for name in named if name in grouped}),
                flops=flops.get(path, 0),
            )
        )
    return rows


def config(model: A2AModel, path: str) -> Component:
    """The part of the recipe behind a place of the model; where widths differ a linear projector stands by itself."""
    kind, _, key = path.partition(".")
    table: Any = getattr(model.parts, kind)
    found: Component = table.get(key, LinearProjector()) if key else table
    return found


def by_group(model: A2AModel, grouped: Mapping[str, str]) -> dict[str, int]:
    """Numbers in each optimizer group."""
    found: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if name in grouped:
            found[grouped[name]] += parameter.numel()
    return dict(found)


def by_thaw(model: A2AModel) -> dict[str, int]:
    """Numbers that are trained later, by when."""
    found: Counter[str] = Counter()
    for name, until in model.thaws.items():
        found[f"{until:g}"] += model.get_parameter(name).numel()
    return dict(found)


def count(parameters: Iterable[Tensor]) -> int:
    """Numbers in them."""
    return sum(parameter.numel() for parameter in parameters)

"""Names that a part gives to modules within it, so that a recipe can name them whatever the model around them is.

A module with `parts`, a dict of such names and the places they stand for (`{"vision": "model.model.visual"}`), is known by
both: `fusion.vision.blocks.0` is `fusion.model.model.visual.blocks.0`. Of a part that lies in another the inner name counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def aliases(model: nn.Module) -> dict[str, str]:
    """Place -> name of everything in a model that has one."""
    found: dict[str, str] = {}
    for owner, module in model.named_modules():
        parts = vars(module).get("parts")
        if isinstance(parts, Mapping):
            start = f"{owner}." if owner else ""
            found |= {f"{start}{place}": f"{start}{name}" for name, place in parts.items()}
    return found


def renamed(name: str, table: Mapping[str, str]) -> str:
    """A name of a module or parameter with its longest beginning, as the table has it, replaced."""
    start = max((each for each in table if name == each or name.startswith(f"{each}.")), key=len, default=None)
    return name if start is None else table[start] + name[len(start) :]


def spoken(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Names of modules or parameters -> what patterns may call them, too."""
    table = aliases(model)
    return {name: renamed(name, table) for name in names}


def place(model: nn.Module, name: str) -> str:
    """The place of a module that may be called by its other name."""
    return renamed(name, {called: where for where, called in aliases(model).items()})

"""A number of bytes on the command line."""

from __future__ import annotations

import re
from typing import Any

import click


class Size(click.ParamType[int]):
    """Bytes: `24GiB`, `80GB`, `500MiB`."""

    name = "size"
    factors = {"": 1, "B": 1} | {
        f"{letter}{end}": base**power
        for power, letter in enumerate("KMGT", 1)
        for end, base in (("B", 1000), ("iB", 1024), ("", 1024))
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A number and a unit."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
        factor = {name.lower(): each for name, each in self.factors.items()}.get(match[2].lower()) if match else None
        if match is None or factor is None or not float(match[1]):
            self.fail(f"{value!r} is no size such as 24GiB", param, ctx)
        return int(float(match[1]) * factor)

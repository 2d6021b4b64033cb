"""A run's history as curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from a2a_core.report.sections import Curve

MEASURED = {"step", "epoch", "split", "samples_per_second", "tokens_per_second", "memory_mib"}
"""What is recorded of a step besides what is learned."""


def curves(records: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """One for each number that was recorded at two steps or more, a line a split; `ndcg@1` and `ndcg@10` are lines of one."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        for name, value in record.items():
            if name not in MEASURED and number(value) and number(record.get("step")):
                title, at, k = name.partition("@")
                lines = found.setdefault(title, {})
                lines.setdefault(f"{record.get('split')} {at}{k}".rstrip(), []).append((float(record["step"]), float(value)))
    return [
        Curve(title, "step", lines)
        for title, lines in sorted(found.items(), key=lambda each: (each[0] != "loss", each[0]))
        if max(len({x for x, _ in points}) for points in lines.values()) > 1
    ]


def number(value: Any) -> bool:
    """One that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

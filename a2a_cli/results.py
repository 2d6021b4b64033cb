"""A run's metrics for people: a table of numbers, and each confusion matrix as a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from a2a_cli.output import shown, table

Results = Mapping[str, Mapping[str, Any]]
"""Split -> metric -> value."""
WIDEST = 30
"""Classes up to which a matrix is printed; the run's folder holds it all the same."""


def summary(results: Results) -> str:
    """Metrics down, splits across; then the matrices."""
    names = [name for values in results.values() for name, value in values.items() if isinstance(value, int | float)]
    if not names:
        return "trained; there is no split to evaluate"
    rows = [[name, *(shown(values.get(name)) for values in results.values())] for name in dict.fromkeys(names)]
    return "\n\n".join([table(rows, ["metric", *results]), *matrices(results)])


def matrices(results: Results) -> Iterator[str]:
    """Tables of counts by class; rows are labels, columns predictions."""
    for split, values in results.items():
        for name, value in values.items():
            classes = values.get(f"{name}/classes")
            if isinstance(value, list) and isinstance(classes, list) and len(value) == len(classes) <= WIDEST:
                rows = [[str(label), *map(str, row)] for label, row in zip(classes, value, strict=True)]
                yield table(rows, [f"{name} of {split}: label \\ predicted", *map(str, classes)])

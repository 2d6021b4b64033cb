"""Print what a command found: lines for people, JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

ARTIFACTS = {
    "model": "the trained model",
    "checkpoints": "to resume from",
    "metrics.jsonl": "history, a JSON object a line",
    "tensorboard": "curves: `tensorboard --logdir` with this folder",
    "quarantine.jsonl": "rows that could not be read",
    "report.html": "report",
    "recipe.toml": "the recipe, complete",
    "environment.json": "versions and hardware",
}
"""What a run's folder may hold that people look for."""


def print_json(value: Any) -> None:
    """One document on stdout. JSON has no NaN: numbers that are not finite become null."""
    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False))


def jsonable(value: Any) -> Any:
    """The value with nothing in it that JSON lacks."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def print_markdown(text: str) -> None:
    """Laid out on a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def table(rows: Sequence[Sequence[str]], headers: Sequence[str] = (), indent: str = "") -> str:
    """Left-aligned columns, two spaces apart; styled cells keep their width."""
    every = [[click.style(header, bold=True) for header in headers], *rows] if headers else list(rows)
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*every, strict=True)]
    return "\n".join(indent + _line(row, widths) for row in every)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def shown(value: Any) -> str:
    """One value in a table: numbers to four digits, `-` for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(jsonable(value), ensure_ascii=False)


def plural(count: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

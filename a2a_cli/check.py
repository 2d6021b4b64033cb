"""`a2a check`: is the recipe right? Static: no part is built, torch is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from a2a_cli.arguments import json_option, recipe_argument, set_option, without_option
from a2a_cli.output import print_json, table
from a2a_core.errors import A2AError, Problem
from a2a_core.options import Component
from a2a_core.recipe import Loaded, load_recipe


@click.command()
@recipe_argument
@set_option
@without_option
@json_option
def check(recipe: Path, sets: tuple[str, ...], without: tuple[str, ...], as_json: bool) -> None:
    """Check a recipe without running it.

    Every mistake is shown at once, each with its file, line and a suggestion; the exit code is 2 when there is one. What
    `a2a train` would refuse to start with (a table that is missing, a data file that is not there) is a mistake, too.
    """
    try:
        loaded = load_recipe(recipe, None, sets, without, for_run=True)
    except A2AError as error:
        if not as_json:
            raise
        print_json({"ok": False, "recipe": recipe, "problems": [described(problem) for problem in error.problems]})
        raise SystemExit(error.exit_code) from None
    found = dict(parts(loaded))
    if as_json:
        print_json({"ok": True, "recipe": recipe, "problems": [], "parts": found, "overrides": loaded.overrides})
        return
    click.echo(f"{recipe} is fine\n")
    click.echo(table(list(found.items()), indent="  "))
    if loaded.overrides:
        click.echo("\noverridden:")
        click.echo("\n".join(f"  {override}" for override in loaded.overrides))


def described(problem: Problem) -> dict[str, Any]:
    """One mistake for machines; line and column count from 1, as editors do, null where no file is at fault."""
    origin = problem.origin
    placed = origin is not None and origin.line > 0
    return {
        "message": problem.message,
        "file": origin.source if origin else None,
        "line": origin.line if origin and placed else None,
        "column": origin.column + 1 if origin and placed else None,
        "hint": problem.hint,
    }


def parts(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Each part by its table, with its qualified name."""
    for name, value in vars(loaded.recipe).items():
        for key, part in entries(name, value):
            if isinstance(part, Component):
                yield key, loaded.catalog.qualified(type(part))


def entries(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A table's entries by their dotted names: one, one a key, or one a place in the list."""
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", item) for key, item in value.items())
    elif isinstance(value, tuple):
        yield from ((f"{name}[{place}]", item) for place, item in enumerate(value))
    else:
        yield name, value

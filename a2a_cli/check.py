"""`a2a check`: is the recipe right? Without `--deep` no part is built, and torch is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from a2a_cli.arguments import json_option, recipe_argument, set_option, without_option
from a2a_cli.output import print_json, table
from a2a_cli.size import Size
from a2a_core.errors import A2AError, Problem
from a2a_core.options import Component
from a2a_core.recipe import Loaded, load_recipe


@click.command()
@recipe_argument
@set_option
@without_option
@click.option("--deep", is_flag=True, help="Look at data, shapes, memory and arithmetic, too: seconds, no weights read.")
@click.option(
    "--samples", type=click.IntRange(min=1), default=8, show_default=True, help="With --deep: rows of each split to look at."
)
@click.option(
    "--ranks", type=click.IntRange(min=1), default=8, show_default=True, help="With --deep: ranks to spread the model over."
)
@click.option("--fit", "limit", type=Size(), metavar="SIZE", help="With --deep: what fits a device of 24GiB?")
@json_option
@click.pass_context
def check(
    context: click.Context,
    recipe: Path,
    sets: tuple[str, ...],
    without: tuple[str, ...],
    deep: bool,
    samples: int,
    ranks: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Check a recipe without running it.

    \b
    a2a check recipe.toml
    a2a check --deep recipe.toml
    a2a check --deep --fit 24GiB recipe.toml --set trainer.precision=bf16

    Every mistake is shown at once, each with its file, line and a suggestion; the exit code is 2 when there is one. What
    `a2a train` would refuse to start with (a table that is missing, a data file that is not there) is a mistake, too.

    --deep goes on where that ends. It reads the first rows of every split and shows what they become and what is supervised
    there; it builds the model without weights, and shows every part's shapes, parameters and optimizer group; it estimates
    FLOPs of a step and memory of a rank, for one device and for several ways to spread the model. Nothing large is allocated.
    """
    if not deep and {name for name in ("samples", "ranks", "limit") if given(context, name)}:
        raise click.UsageError("--samples, --ranks and --fit belong to --deep")
    try:
        loaded = load_recipe(recipe, None, sets, without, for_run=True)
    except A2AError as error:
        if not as_json:
            raise
        print_json({"ok": False, "recipe": recipe, "problems": [described(problem) for problem in error.problems]})
        raise SystemExit(error.exit_code) from None
    if deep:
        check_deep(loaded, recipe, samples, ranks, limit, as_json)
        return
    found = dict(parts(loaded))
    if as_json:
        print_json({"ok": True, "recipe": recipe, "problems": [], "parts": found, "overrides": loaded.overrides})
        return
    click.echo(f"{recipe} is fine\n")
    click.echo(table(list(found.items()), indent="  "))
    announce(loaded)


def given(context: click.Context, name: str) -> bool:
    """The user wrote this option."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def announce(loaded: Loaded) -> None:
    """Overrides decide what was checked."""
    if loaded.overrides:
        click.echo("\noverridden:")
        click.echo("\n".join(f"  {override}" for override in loaded.overrides))


def check_deep(loaded: Loaded, recipe: Path, samples: int, ranks: int, limit: int | None, as_json: bool) -> None:
    """Everything that is found out is shown, then everything that is wrong."""
    from a2a_cli.deep import look, machine, render

    report = look(loaded, samples, ranks, limit)
    if as_json:
        problems = [described(problem) for problem in report.problems]
        about = {"ok": not problems, "recipe": recipe, "problems": problems, "parts": dict(parts(loaded))}
        print_json({**about, "overrides": loaded.overrides, "deep": machine(report)})
        if problems:
            raise SystemExit(A2AError.exit_code)
        return
    click.echo("\n\n".join(render(report)))
    announce(loaded)
    if report.problems:
        raise A2AError(report.problems)
    click.echo(f"\n{recipe} is fine")


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

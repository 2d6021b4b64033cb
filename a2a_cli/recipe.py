"""`a2a recipe`: a recipe made complete, and the schema of all recipes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from a2a_cli.arguments import output_option, recipe_argument, set_option, without_option
from a2a_core.errors import A2AError
from a2a_core.plugins import Catalog


@click.group()
def recipe() -> None:
    """A recipe made complete; the schema of all recipes."""


@recipe.command("fill")
@recipe_argument
@set_option
@without_option
@output_option
def fill_(recipe: Path, sets: tuple[str, ...], without: tuple[str, ...], output: Path | None) -> None:
    """Print a recipe complete, each value with its origin.

    Keys that it leaves out get their defaults, parts their qualified names. What is printed is a recipe that runs the same.
    """
    from a2a_core.recipe import fill, load_recipe

    text = fill(load_recipe(recipe, None, sets, without))
    if output is not None and output.exists() and output.samefile(recipe):
        raise A2AError(f"{output} is the recipe itself", hint="write to another file")
    deliver(text, output)


@recipe.command("schema")
@output_option
def schema_(output: Path | None) -> None:
    """Print the JSON Schema of recipes.

    It knows every component that is installed. An editor that reads it completes and checks recipes while they are
    written. With Taplo, or Even Better TOML in VS Code: run `a2a recipe schema -o recipe.schema.json` and begin the recipe
    with the line

    \b
        #:schema ./recipe.schema.json

    Run it again when plugins come or go.
    """
    from a2a_core.recipe import schema

    deliver(json.dumps(schema(Catalog.installed()), indent=1, ensure_ascii=False) + "\n", output)


def deliver(text: str, output: Path | None) -> None:
    """To the file if there is one, else to the screen."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise A2AError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)

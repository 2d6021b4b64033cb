"""Arguments and options that several commands share, and how a shell completes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2a_core.plugins import Catalog

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

RUNS = Path("runs")
"""Where runs lie when the command line names no other folder."""
DEPTH = 3
"""Folders below the one being typed in which completion looks for recipes."""
ENTRIES = 5000
"""Files and folders that completion looks at before it stops: a key press must stay quick."""


class RecipePath(click.Path):
    """A recipe's path; completes to the .toml files at and below what was typed."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The .toml files that begin so; the shell's own file names when there is none."""
        from click.shell_completion import CompletionItem

        found = sorted(islice(toml_files(incomplete), 200))
        return [CompletionItem(path) for path in found] or super().shell_complete(ctx, param, incomplete)


def toml_files(incomplete: str) -> Iterator[str]:
    """Paths of .toml files that begin with what was typed, hidden folders left out."""
    folder, _ = os.path.split(incomplete)
    for entry in islice(_below(folder or ".", DEPTH), ENTRIES):
        path = entry if folder else entry.removeprefix(f".{os.sep}")
        if path.endswith(".toml") and path.startswith(incomplete):
            yield path


def _below(folder: str, depth: int) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_dir(), entry.name))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        yield entry.path
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, depth - 1)


class PluginName(click.ParamType[str]):
    """A plugin or a distribution that is installed."""

    name = "plugin"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Their names."""
        return items(incomplete, {name for plugin in Catalog.installed().plugins for name in (plugin.name, plugin.dist)})


class ComponentName(click.ParamType[str]):
    """A component, a plugin or a distribution that is installed."""

    name = "component"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Their names."""
        plugins = Catalog.installed().plugins
        offered = {name for plugin in plugins for names in plugin.offers.values() for name in names}
        return items(incomplete, offered | {name for plugin in plugins for name in (plugin.name, plugin.dist)})


class RunName(click.ParamType[str]):
    """A run's folder, or its name in the runs folder."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of the runs in the runs folder, newest first; folders when there is none."""
        from click.shell_completion import CompletionItem

        from a2a_core.runs import every

        option = next((each for each in ctx.command.params if "--runs" in each.opts), None)
        folder = ctx.params.get(option.name) if option is not None and option.name else None
        found = [run.name for run in every(folder or RUNS) if run.name.startswith(incomplete)]
        return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="dir")]


def items(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    """The names that begin so."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


recipe_argument = click.argument("recipe", type=RecipePath())
set_option = click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override one value: `--set trainer.epochs=3`. May be repeated."
)
without_option = click.option(
    "--without", multiple=True, metavar="KEY", help="Leave a table out: `--without encoders.sound`. May be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
output_option = click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file.")
batch_size_option = click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows at once."
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, show_default=True, help="The folder of runs."
)

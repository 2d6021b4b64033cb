"""`a2a launch`: a run handed to another engine, as the files that it starts from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2a_cli.arguments import RecipePath, items, json_option, runs_option, set_option, without_option
from a2a_cli.output import print_json
from a2a_core.errors import A2AError
from a2a_core.options import Location, Options
from a2a_core.plugins import Catalog

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from a2a_core.launchers import Launch, LauncherConfig, Written
    from a2a_core.recipe import Loaded

PLACE = Path("launch")
"""Folder of the folders that are written, when the command line names none."""


class LauncherName(click.ParamType[str]):
    """A launcher that is installed."""

    name = "launcher"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Their names."""
        return items(incomplete, Catalog.installed().names("launcher"))


@click.command()
@click.argument("recipe", type=RecipePath())
@click.option("--to", "name", type=LauncherName(), metavar="NAME", help="The engine: slurm, kubernetes, ray, script, …")
@click.option(
    "--with", "options", multiple=True, metavar="KEY=VALUE", help="An option of the engine: `--with hours=12`. May be repeated."
)
@set_option
@without_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the files go; its name is the run's  [default: launch/, and the recipe's name].",
)
@runs_option
@click.option("--force", is_flag=True, help="Write over files that are there; go on with a run of that name.")
@json_option
def launch(
    recipe: Path,
    name: str | None,
    options: tuple[str, ...],
    sets: tuple[str, ...],
    without: tuple[str, ...],
    output: Path | None,
    runs: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write what another engine starts the run of RECIPE from.

    \b
    a2a launch recipe.toml --to slurm --with partition=gpu --with hours=24
    a2a launch recipe.toml --to kubernetes --with image=me/a2a --with volumes.data=/data --runs /data/runs
    a2a launch recipe.toml --to ray
    a2a launch recipe.toml --to script --set backend.nodes=2 --with rendezvous=first:29400

    Nothing is started; the command that does is printed. How many ranks on how many machines is the recipe's affair
    (`backend.processes`, `backend.nodes`); what the engine wants beside that is given by --with, and `a2a plugins show slurm`
    lists it. The recipe goes along complete, with every --set in it, so that nothing that changes later changes the run.

    A job is a run, RUNS/<name of FOLDER>: stopped by the engine, it saves; started again, it goes on from there.
    """
    from a2a_core.launchers import Launch
    from a2a_core.recipe import fill, load_recipe

    if name is None:
        known = ", ".join(Catalog.installed().names("launcher")) or "none is installed: pip install a2a-launch"
        raise click.UsageError(f"--to which engine? ({known})")
    catalog = Catalog.installed()
    launcher = chosen(name, options, catalog)
    loaded = load_recipe(recipe, None, sets, without, for_run=True, elsewhere=launcher.elsewhere)
    folder = (output or PLACE / named(recipe)).absolute()
    task = Launch(
        name=folder.name,
        recipe=fill(loaded),
        folder=folder,
        run=Path(os.path.abspath(runs / folder.name)),  # noqa: PTH100 - of a machine that may not be this one: as it is written
        backend=loaded.recipe.backend,
        paths=dict(paths("", loaded.recipe)),
    )
    refuse_begun(task, launcher, force)
    written = launcher.build(task)
    write(written, folder, force)
    conclude(loaded, task, written, as_json)


def named(recipe: Path) -> str:
    """What runs of a recipe are called, as `a2a train` has it, without the time."""
    stem = recipe.resolve().parent.name if recipe.stem == "recipe" else recipe.stem
    return re.sub(r"[/\0]", "-", stem)


def paths(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Files and folders in a recipe, `data.train.path`; URLs are none."""
    if isinstance(value, (Path, Location)) and "://" not in str(value):
        yield name, str(value)
    below = vars(value).items() if isinstance(value, Options) else value.items() if isinstance(value, Mapping) else ()
    several = enumerate(value) if isinstance(value, (tuple, list)) else ()
    for key, each in [*below, *several]:
        yield from paths(f"{name}.{key}" if name else str(key), each)


def chosen(name: str, options: Sequence[str], catalog: Catalog) -> LauncherConfig:
    """The launcher with its options, checked as strictly as a recipe."""
    from a2a_core.launchers import LauncherConfig
    from a2a_core.recipe.layers import setting
    from a2a_core.recipe.structure import Structurer
    from a2a_core.recipe.tree import Document, merge, tree

    problems = []
    table = tree({"use": name}, Document("--to"))
    for text in options:
        try:
            given = setting(text, "--with")
        except A2AError as error:
            problems += error.problems
            continue
        if given.names[0] == "use":
            raise click.UsageError("--with names an option of the engine; the engine is --to's")
        table = merge(table, given.value)
    if problems:
        raise A2AError(problems)
    made: LauncherConfig = Structurer(catalog, table, "--with").table(table, LauncherConfig)
    return made


def refuse_begun(task: Launch, launcher: LauncherConfig, force: bool) -> None:
    """A2AError where the run is there already, as far as that can be seen here: the job would go on with it."""
    if not force and not launcher.elsewhere and (task.run / "run.json").exists():
        hint = "choose another name with `-o`; or `--force`, and the job goes on with it"
        raise A2AError(f"the run {task.run} is there already", hint=hint)


def write(written: Written, folder: Path, force: bool) -> None:
    """All files or none; A2AError where one is there, unless `force`."""
    from a2a_core.runs import explained
    from a2a_core.runs import write as write_file

    there = [folder / each for each in written.files if (folder / each).exists()]
    if there and not force:
        hint = "`--force` writes over it; `-o` names another folder"
        raise A2AError(f"{', '.join(map(str, there))} exists already", hint=hint)
    if folder.exists() and not folder.is_dir():
        raise A2AError(f"{folder} is no folder", hint="choose another with `-o`")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for each, text in written.files.items():
        write_file(folder / each, text)


def conclude(loaded: Loaded, task: Launch, written: Written, as_json: bool) -> None:
    """What was written, and what to do with it."""
    if as_json:
        found = {"folder": task.folder, "files": list(written.files), "run": task.run, "start": written.start}
        print_json({**found, "notes": written.notes, "overrides": loaded.overrides})
        return
    if loaded.overrides:
        click.echo("overridden: " + "; ".join(str(override) for override in loaded.overrides), err=True)
    for note in written.notes:
        click.echo(f"note: {note}", err=True)
    click.echo("\n".join(f"wrote {task.folder / each}" for each in written.files))
    click.echo(f"\nstart it:\n  {written.start}\nits run:\n  {task.run}")

"""`a2a train --resume`: which run is meant, and what of its recipe is to be another from here on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from a2a_cli.output import table
from a2a_core import runs as folders
from a2a_core.errors import A2AError
from a2a_core.recipe import Loaded, load_recipe, plain
from a2a_core.recipe.layers import from_environment, key
from a2a_core.recipe.writing import toml
from a2a_core.resuming import Change, adopt, changes, undo
from a2a_core.runs import Run
from a2a_core.training import main_rank

NEWEST = "newest"
WIDEST = 40
"""Signs of a value in a table of changes."""


@attrs.define
class Resumption:
    """A run that is to go on, and with what recipe: every rank reads both, and the first one `begin`s."""

    run: Run
    before: Loaded
    after: Loaded
    said: Mapping[str, list[str]]
    """See `remembered`."""
    force: bool
    quiet: bool
    adopted: bool = False

    def begin(self) -> Run:
        """The run, held, with the recipe that it is to have; A2AError where it cannot go on with that."""
        run, found = self.run, changes(self.before, self.after)
        if run.status == "running":
            raise A2AError(f"run {run.name} is still running (process {run.state.get('pid')})")
        if run.status == "done":
            refuse_done(run, found)
        refuse(found, self.force, run)
        folders.hold(run.folder)
        if found:
            if not self.quiet:
                click.echo("\n".join(f"changed: {change.name} = {arrow(change)}" for change in found), err=True)
            adopt(run, self.after, found, self.said)
            self.adopted = True
        return run

    @contextmanager
    def undone(self) -> Iterator[None]:
        """A recipe that is refused before anything was trained with it leaves the run with its old one."""
        try:
            yield
        except A2AError as error:
            if self.adopted and error.exit_code == A2AError.exit_code:
                undo(self.run)
            raise


def resumption(
    recipe: Path | None, name: str, runs: Path, sets: Sequence[str], without: Sequence[str], force: bool, quiet: bool
) -> Resumption:
    """By its name, or the newest that is not finished; with its own recipe, or RECIPE, and what else the command line says."""
    run = folders.newest_unfinished(runs, recipe, not main_rank()) if name == NEWEST else folders.find(name, runs)
    before = after = load_recipe(run.recipe, None, environ={})
    gone = run.state.get("without", [])
    without = [each for each in without if each not in gone]
    if recipe is not None:
        after = load_recipe(recipe, None, (*recalled(run, before), *sets), (*gone, *without), for_run=True)
    elif sets or without:
        after = load_recipe(run.recipe, None, sets, without, environ={}, for_run=True)
    return Resumption(run, before, after, remembered(sets, without, run.state), force, quiet)


def remembered(sets: Sequence[str], without: Sequence[str], state: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """Keys that decide a run beside its recipe, for `run.json`: whoever goes on with RECIPE need not say so again."""
    known = dict(state or {})
    settings = [text for text, _ in from_environment(os.environ)] if state is None else []
    keys = (text.partition("=")[0] for text in (*settings, *sets))
    return {
        "overridden": list(dict.fromkeys((*known.get("overridden", ()), *keys))),
        "without": list(dict.fromkeys((*known.get("without", ()), *without))),
    }


def recalled(run: Run, before: Loaded) -> list[str]:
    """Settings that a run was begun with, with their values there, but for those that the environment has now."""
    values = plain(before.recipe, before.catalog)
    now = {text.partition("=")[0] for text, _ in from_environment(os.environ)}
    sets = []
    for dotted in run.state.get("overridden", ()):
        value: Any = values
        for name in key(dotted) or ():
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and dotted not in now:
            sets.append(f"{dotted}={toml(value)}")
    return sets


def refuse_done(run: Run, found: Sequence[Change]) -> None:
    """A2AError for a run that has nothing left to do."""
    if all(change.verdict == "free" for change in found):
        longer = f"a2a train --resume {run.folder} --set trainer.epochs=… --force"
        raise A2AError(f"run {run.name} is finished: its model lies in {run.model}", hint=f"to train it for longer:  {longer}")
    if run.newest_checkpoint() is None:
        raise A2AError(f"run {run.name} is finished, and has no checkpoint to go on from")


def refuse(found: Sequence[Change], force: bool, run: Run) -> None:
    """A2AError that shows all changes, where one of them cannot be, or needs `--force`."""
    never = any(change.verdict == "never" for change in found)
    if not never and (force or all(change.verdict == "free" for change in found)):
        return
    marks = {"free": "", "force": "" if force else "with --force"}
    rows = [(change.name, arrow(change), marks.get(change.verdict, f"no: {change.reason}")) for change in found]
    hint = f"leave it as it was, or begin a new run with `init_from = {toml(str(run.folder))}`" if never else ""
    hint = hint or f"`--force` goes on with that; as it was:  a2a train --resume {run.folder}"
    raise A2AError(f"run {run.name} has another recipe than it would go on with\n\n{table(rows, indent='    ')}\n", hint=hint)


def arrow(change: Change) -> str:
    """`2 -> 4`."""
    return f"{short(change.before)} -> {short(change.after)}"


def short(value: Any) -> str:
    """A value as a recipe has it, cut."""
    text = "nothing" if value is None else toml(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"

"""`a2a runs`: what was trained, how it went, and what differed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from a2a_cli.arguments import RUNS, RunName, json_option, runs_option
from a2a_cli.output import ARTIFACTS, print_json, shown, table
from a2a_core import runs as folders
from a2a_core.errors import A2AError
from a2a_core.runs import Run

COLOURS = {"done": "green", "running": "cyan", "failed": "red", "killed": "red"}
COLOURS |= {"interrupted": "yellow", "preempted": "yellow"}
TAIL = 1 << 16
"""Bytes at the end of a history in which its last record is looked for."""


@click.group()
def runs() -> None:
    """List, show and compare runs."""


@runs.command("list")
@runs_option
@json_option
def list_(runs: Path, as_json: bool) -> None:
    """List runs, the newest first."""
    if not runs.is_dir() and runs != RUNS:
        raise A2AError(f"there is no folder {runs}")
    found = folders.every(runs)
    if as_json:
        print_json([described(run) for run in found])
    elif not found:
        click.echo(f"no runs in {runs}: `a2a train RECIPE` makes one")
    else:
        click.echo(table([row(run) for run in found], ("run", "status", "started", "steps", "recipe", "result")))


def described(run: Run) -> dict[str, Any]:
    """One run for machines."""
    state = run.state
    kept = {name: state.get(name) for name in ("started", "finished", "recipe", "error")}
    return {
        "run": run.name,
        "folder": run.folder,
        "status": run.status,
        **kept,
        "steps": steps(run),
        "checkpoint": saved(run),
        "results": dict(numbers(state.get("results"))),
    }


def row(run: Run) -> list[str]:
    """One run for people."""
    state = run.state
    recipe = state.get("recipe")
    return [
        run.name,
        coloured(run.status),
        when(state.get("started")),
        shown(steps(run)),
        os.path.relpath(recipe) if isinstance(recipe, str) else "-",
        headline(run, dict(numbers(state.get("results")))),
    ]


def coloured(status: str) -> str:
    """A status in its colour."""
    return click.style(status, fg=COLOURS.get(status))


def when(text: object) -> str:
    """A recorded time, in this place's time zone."""
    try:
        return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "-"


def steps(run: Run) -> int | None:
    """Optimizer steps that are done: as recorded at the end, before that those of the history's last line."""
    recorded = run.state.get("steps")
    if isinstance(recorded, int):
        return recorded
    return max((record["step"] for record in last_records(run) if isinstance(record.get("step"), int)), default=None)


def saved(run: Run) -> int | None:
    """The steps in the newest whole checkpoint: from where it would go on."""
    newest = run.newest_checkpoint()
    return None if newest is None else folders.step_of(newest)


def last_records(run: Run) -> list[dict[str, Any]]:
    """The last few records of a run's history."""
    try:
        with run.metrics.open("rb") as file:
            file.seek(max(0, run.metrics.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [record for line in text.splitlines() if (record := folders.parsed(line))]


def numbers(results: object, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Results by name, `validation/accuracy`; tables such as a confusion matrix are left out."""
    if not isinstance(results, Mapping):
        return
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def is_loss(name: str) -> bool:
    """`validation/loss`, `validation/loss/digit/cross-entropy`, `validation/head_loss/digit`."""
    return not {"loss", "head_loss"}.isdisjoint(name.split("/"))


def headline(run: Run, results: Mapping[str, float]) -> str:
    """The result to show when there is room for one: what the recipe cares for most, of a held-out split if there is any."""
    from a2a_cli.settings import priorities

    if not results:
        return "-"
    wanted = priorities(run)

    def place(name: str) -> tuple[int, bool, bool]:
        rank = min((rank for rank, each in enumerate(wanted) if each in (name, name.partition("/")[2])), default=len(wanted))
        return rank, is_loss(name), name.startswith("train/")

    name = min(results, key=place)
    return f"{name} {shown(results[name])}"


@runs.command("show")
@click.argument("run", type=RunName())
@runs_option
@json_option
def show(run: str, runs: Path, as_json: bool) -> None:
    """Show one run: its settings, its results, and where its artifacts lie.

    RUN is a folder, the name of a run in the runs folder, or the beginning of one.
    """
    from a2a_cli.settings import changed
    from a2a_core.resuming import changed as changed_on_resuming

    found = folders.find(run, runs)
    latest = latest_metrics(found)
    artifacts = {name: found.folder / name for name in ARTIFACTS if (found.folder / name).exists()}
    settings = changed(found)
    if as_json:
        changes = changed_on_resuming(found)
        print_json({**described(found), "settings": settings, "changes": changes, "last": latest, "artifacts": artifacts})
        return
    state = found.state
    click.echo(f"{click.style(found.name, bold=True)}  {coloured(found.status)}")
    facts = [("recipe", shown(state.get("recipe"))), ("started", when(state.get("started")))]
    facts += [("finished", when(state["finished"]))] if state.get("finished") else []
    facts += [("steps", shown(steps(found)))]
    facts += [("error", str(state["error"]))] if state.get("error") else []
    click.echo(table(facts, indent="  "))
    if found.status in folders.UNFINISHED:
        step = saved(found)
        where = "its first step, as it has no whole checkpoint" if step is None else f"step {step}"
        click.echo(f"  go on from {where}:  a2a train --resume {found.folder}")
    section("settings that differ from the defaults", [(name, shown(value)) for name, value in settings.items()])
    for change in changed_on_resuming(found):
        rows = [(name, f"{shown(old)} -> {shown(new)}") for name, (old, new) in change.get("settings", {}).items()]
        section(f"changed after step {change.get('step')}, {when(change.get('time'))}", rows)
    section("results", [(name, shown(value)) for name, value in numbers(state.get("results"))])
    for split, record in latest.items():
        title = f"last recorded, {split}, step {record.get('step', '-')}"
        section(title, [(name, shown(value)) for name, value in record.items() if name not in ("step", "split")])
    section("artifacts", [(str(path), ARTIFACTS[name]) for name, path in artifacts.items()])


def section(title: str, rows: Sequence[Sequence[str]]) -> None:
    """A titled table; nothing when it is empty."""
    if rows:
        click.echo(f"\n{click.style(title, bold=True)}\n{table(rows, indent='  ')}")


def latest_metrics(run: Run) -> dict[str, dict[str, Any]]:
    """Split -> its last record."""
    return {str(record.get("split", "train")): record for record in last_records(run)}


@runs.command("compare")
@click.argument("run", nargs=-1, required=True, type=RunName())
@runs_option
@json_option
def compare(run: tuple[str, ...], runs: Path, as_json: bool) -> None:
    """Compare runs: the settings that differ side by side, then the results, the best marked with `*`."""
    from a2a_cli.settings import best, differing

    found = [folders.find(name, runs) for name in run]
    if len({each.folder.resolve() for each in found}) < 2:
        raise A2AError("comparing takes two runs or more", hint="`a2a runs list` shows what there is")
    settings = differing(found)
    each_results = [dict(numbers(each.state.get("results"))) for each in found]
    names = list(dict.fromkeys(name for results in each_results for name in results))
    results = {name: [each.get(name) for each in each_results] for name in names}
    winners = best(found, results)
    if as_json:
        print_json({"runs": [described(each) for each in found], "settings": settings, "results": results, "best": winners})
        return
    headers = ["", *(each.name for each in found)]
    rows = [["status", *(coloured(each.status) for each in found)]]
    rows += [[name, *map(shown, values)] for name, values in settings.items()]
    rows += [
        [name, *(marked(value, place in winners.get(name, ())) for place, value in enumerate(values))]
        for name, values in results.items()
    ]
    click.echo(table(rows, headers))


def marked(value: float | None, best: bool) -> str:
    """A result; the best one stands out without colours too."""
    return click.style(f"{shown(value)} *", fg="green") if best else shown(value)

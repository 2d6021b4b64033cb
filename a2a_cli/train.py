"""`a2a train`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from a2a_cli.agreement import agreed
from a2a_cli.arguments import RecipePath, json_option, runs_option, set_option, without_option
from a2a_cli.output import ARTIFACTS, jsonable, print_json, shown, table
from a2a_cli.results import summary
from a2a_cli.resume import NEWEST, remembered, resumption
from a2a_core import runs as folders
from a2a_core.preemption import Preempted, heeded
from a2a_core.recipe import Loaded, load_recipe
from a2a_core.runs import Run


@click.command()
@click.argument("recipe", type=RecipePath(), required=False)
@set_option
@without_option
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder [default: a new one in RUNS].")
@runs_option
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Go on with a run from its last checkpoint; without RUN, with the newest that is not finished.",
)
@click.option("--force", is_flag=True, help="With --resume: go on though the recipe is another now, where that can be.")
@click.option("--dry-run", is_flag=True, help="Open the data and build the model, say what would be trained, and stop.")
@json_option
def train(
    recipe: Path | None,
    sets: tuple[str, ...],
    without: tuple[str, ...],
    out: Path | None,
    runs: Path,
    resume: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train what RECIPE describes.

    \b
    a2a train recipe.toml
    a2a train recipe.toml --set trainer.epochs=3 --without encoders.sound
    a2a train --resume

    Everything goes into one folder: the filled recipe, the history, checkpoints, and the trained model. Ctrl-C saves a
    checkpoint and stops; `--resume` goes on from it to the same weights as a run that was never stopped. With RECIPE,
    --set or --without it shows what they change about the run; what can change needs --force, but for [backend].

    SIGTERM and SIGUSR1, by which schedulers want the machine back, save a checkpoint and end with exit code 0.
    """
    if resume is not None:
        recipe, resume = reread(recipe, resume)
        if out or dry_run:
            raise click.UsageError("--resume goes on with a run where it is: leave --out and --dry-run away")
        found = resumption(recipe, resume, runs, sets, without, force, as_json)
        run = agreed(found.begin, found.after)
        with found.undone():
            carry_out(load_recipe(run.recipe, None, environ={}), run, True, as_json)
        return
    if recipe is None:
        raise click.UsageError("which recipe? `a2a train RECIPE`, or `a2a train --resume`")
    if force:
        raise click.UsageError("--force is for --resume")
    loaded = load_recipe(recipe, None, sets, without, for_run=True)
    announce(loaded, as_json)
    if dry_run:
        rehearse(loaded, as_json)
        return
    run = agreed(partial(begin, loaded, recipe, out, runs, remembered(sets, without)), loaded)
    carry_out(loaded, run, False, as_json)


def reread(recipe: Path | None, resume: str) -> tuple[Path | None, str]:
    """`--resume recipe.toml` means the recipe: an option with an optional value takes the next word."""
    if resume.endswith(".toml") and recipe is None and Path(resume).is_file():
        return Path(resume), NEWEST
    return recipe, resume


def announce(loaded: Loaded, as_json: bool) -> None:
    """Overrides decide a run: they are shown before it."""
    from a2a_core.training import main_rank

    if loaded.overrides and not as_json and main_rank():
        click.echo("overridden: " + "; ".join(str(override) for override in loaded.overrides), err=True)


def begin(loaded: Loaded, recipe: Path, out: Path | None, runs: Path, said: Mapping[str, Any]) -> Run:
    """The run's new folder, held."""
    from a2a_core import training

    run = folders.create(out) if out is not None else folders.new(runs, recipe)
    training.start(run, loaded, recipe)
    run.update(**said)
    return run


def carry_out(loaded: Loaded, run: Run, resume: bool, as_json: bool) -> None:
    """Train, and say what came of it."""
    from a2a_cli.progress import reporter
    from a2a_core import training

    command = [sys.executable, "-m", "a2a_cli.rank", str(run.folder.resolve())]
    command += ["--resume"] * resume + ["--json"] * as_json
    main = training.main_rank()
    try:
        with heeded():
            training.train(loaded, run, reporter(as_json, main), command, resume)
    except Preempted:  # before the first step, or after the last
        if main:
            run.update(status="preempted")
    if main:
        conclude(run, as_json)


def conclude(run: Run, as_json: bool) -> None:
    """The results in a short table, and where everything lies; how to go on, where it did not come to an end."""
    state, again = run.state, f"a2a train --resume {run.folder}"
    status = state.get("status")
    if as_json:
        end = {"event": "end", **state, "folder": str(run.folder), "artifacts": artifacts(run)}
        click.echo(json.dumps(jsonable(end if status == "done" else end | {"resume": again}), ensure_ascii=False))
    elif status == "done":
        click.echo(f"\n{summary(state['results'])}\n")
        click.echo(table([(name, path) for name, path in artifacts(run).items()]))
    elif status == "preempted":
        click.echo(f"resume me: {again}", err=True)
    else:
        click.echo(f"stopped after step {state.get('steps')}; go on with  {again}", err=True)
    if status not in ("done", "preempted"):
        raise SystemExit(1)


def artifacts(run: Run) -> dict[str, str]:
    """What a run left, by name."""
    every = {name: run.folder / name for name in ARTIFACTS}
    return {name: str(path) for name, path in every.items() if path.is_file() or (path.is_dir() and any(path.iterdir()))}


def rehearse(loaded: Loaded, as_json: bool) -> None:
    """Everything up to the first step, in a folder that is thrown away."""
    import tempfile

    from a2a_core.data import Prepared
    from a2a_core.job import assemble
    from a2a_core.reporter import Silent

    backend = loaded.recipe.backend
    if backend.joined():
        backend.setup()
    with tempfile.TemporaryDirectory() as folder:
        job = assemble(loaded, Run(Path(folder)), Silent())
        batch = job.collate(job.data["train"].first(2))
        counts = job.model.counts(batch)
    found = {
        "rows": {split: len(data) if isinstance(data, Prepared) else "a stream" for split, data in job.data.items()},
        "parameters": count(job.model.parameters()),
        "trainable_parameters": count(p for p in job.model.parameters() if p.requires_grad),
        "supervised_in_two_rows": counts,
        "unreadable_in_two_rows": [f"{bad.row.place}: {bad.reason}" for bad in batch["bad"]],
    }
    if as_json:
        print_json(found)
    else:
        click.echo(table([(name.replace("_", " "), shown(value)) for name, value in found.items()]))


def count(parameters: Any) -> int:
    """Numbers in them."""
    return sum(parameter.numel() for parameter in parameters)

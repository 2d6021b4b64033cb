"""Going on with a run: what of its recipe may be another now, and from which checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import attrs

from a2a_core import manifest
from a2a_core.components import SourceConfig, TrainerConfig
from a2a_core.errors import A2AError, RunFailed
from a2a_core.options import Component, Options
from a2a_core.plugins import Catalog
from a2a_core.recipe import Loaded, fill, plain
from a2a_core.reporter import Reporter
from a2a_core.runs import Run, now, step_of, write

if TYPE_CHECKING:
    from a2a_core.job import Job

Verdict = Literal["free", "force", "never"]
FREE = frozenset({"backend", "plugins"})
"""Tables that say where a run takes place, not what is trained."""
FORCE = frozenset({"metrics", "callbacks", "bad_rows"})
"""What may be another from here on, if the user insists."""
REASONS = {
    "seed": "the order of the rows and everything random follow from it",
    "data": "the rows that are done are counted in the order of the rows as they were",
    "collator": "the rows that are done are counted as they were put into batches",
    "init_from": "a run that goes on takes its weights from its checkpoint",
    "init_but": "a run that goes on takes its weights from its checkpoint",
    "trainer": "the checkpoint was written with the old one",
}
MODEL = "the checkpoint holds the model as it was built"


class Change(NamedTuple):
    """One thing that a recipe says and another recipe does not."""

    path: tuple[str | int, ...]
    before: Any
    """Plain; None: nothing."""
    after: Any
    verdict: Verdict
    reason: str = ""

    @property
    def name(self) -> str:
        """`trainer.groups[0].learning_rate`."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")


def changes(before: Loaded, after: Loaded) -> list[Change]:
    """What another recipe would change about a run, by table, and whether a run can go on with it."""
    return list(differences(before.recipe, after.recipe, (), after.catalog, "never"))


def differences(
    before: Any, after: Any, path: tuple[str | int, ...], catalog: Catalog, verdict: Verdict, reason: str = ""
) -> Iterator[Change]:
    """Two values compared, those in them one by one; a component in the place of another is one change."""
    if isinstance(before, Options) and type(before) is type(after):
        for field in attrs.fields(type(before)):
            here = (*path, field.name)
            judged = judge(here, before, verdict, reason)
            yield from differences(getattr(before, field.name), getattr(after, field.name), here, catalog, *judged)
    elif isinstance(before, Mapping) and isinstance(after, Mapping) and several(before, after):
        for key in dict.fromkeys((*before, *after)):
            here = (*path, key)
            judged = ("force", "") if path == ("data",) and key != "train" else (verdict, reason)
            yield from differences(before.get(key), after.get(key), here, catalog, *judged)
    elif isinstance(before, Sequence) and isinstance(after, Sequence) and len(before) == len(after) and several(before, after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, (*path, place), catalog, verdict, reason)
    elif before != after:
        yield Change(path, said(before, catalog), said(after, catalog), verdict, reason)


def several(*values: Any) -> bool:
    """Tables or lists of what has options of its own."""
    each = [item for value in values for item in (value.values() if isinstance(value, Mapping) else value)]
    return bool(each) and all(isinstance(item, Options) for item in each)


def said(value: Any, catalog: Catalog) -> Any:
    """A value as a recipe has it; of a component its name alone."""
    return catalog.qualified(type(value)) if isinstance(value, Component) else plain(value, catalog)


def judge(path: tuple[str | int, ...], owner: Options, verdict: Verdict, reason: str) -> tuple[Verdict, str]:
    """Whether the option at a path of a recipe may be another: by its table, else by what its component declares."""
    table, *below = path
    if not below:
        kind: Verdict = "free" if table in FREE else "force" if table in FORCE else "never"
        return kind, REASONS.get(str(table), MODEL) if kind == "never" else ""
    if verdict == "never" and isinstance(owner, (TrainerConfig, SourceConfig)):
        name = str(path[-1])
        return ("force", "") if name in owner.may_change else ("never", owner.must_stay.get(name, reason))
    return verdict, reason


def adopt(run: Run, after: Loaded, found: Sequence[Change], remembered: Mapping[str, Any]) -> None:
    """Let a run go on with another recipe. The one before is kept, and `run.json` says what changed after which step."""
    former = f"recipe-{len(changed(run)) + 1}.toml"
    checkpoint = run.newest_checkpoint()
    record = {
        "time": now(),
        "step": step_of(checkpoint) if checkpoint else 0,
        "former": former,
        "settings": {change.name: [change.before, change.after] for change in found},
    }
    write(run.folder / former, run.recipe.read_text(encoding="utf-8"))
    run.update(changes=[*changed(run), record], **remembered)
    write(run.recipe, fill(after))


def undo(run: Run) -> None:
    """Take the last change back, unless there are checkpoints that were made with it."""
    *earlier, last = changed(run)
    checkpoint = run.newest_checkpoint()
    if (step_of(checkpoint) if checkpoint else 0) == last["step"]:
        (run.folder / last["former"]).replace(run.recipe)
        run.update(changes=earlier)


def changed(run: Run) -> list[dict[str, Any]]:
    """What was changed about a run when it went on."""
    found = run.state.get("changes")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def checkpoint(run: Run, reporter: Reporter) -> Path | None:
    """The newest checkpoint that is what was written; None where none was ever written.

    The first rank calls it, for all. What is newer and damaged is renamed, so that it counts as no checkpoint any more, and
    the user is told why. RunFailed where all of them are damaged.
    """
    for partial in run.checkpoints.glob(".checkpoint-*.partial"):  # of a process that was killed while it saved
        shutil.rmtree(partial, ignore_errors=True)
    every = run.every_checkpoint()
    damaged: dict[Path, str] = {}
    for path in every:
        reason = manifest.verify(path)
        if reason is None:
            set_aside(damaged, reporter)
            return path
        damaged[path] = reason
    if not every:
        reporter.note("there is no checkpoint yet: it begins with the first step")
        return None
    told = "; ".join(f"{path.name}: {reason}" for path, reason in damaged.items())
    raise RunFailed(
        f"no checkpoint of {run.folder} is whole. {told}",
        hint=f"to begin this run with its first step, move {run.checkpoints} away",
    )


def set_aside(damaged: Mapping[Path, str], reporter: Reporter) -> None:
    """Checkpoints that are passed over keep their files, but not their names: later ones take them."""
    for path, reason in damaged.items():
        aside = path.with_name(path.name.replace("checkpoint", "damaged"))
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        reporter.note(f"{path.name} is passed over: {reason}. It is {aside.name} now; the one before it is taken")


def refuse_other_rows(job: Job, main: bool) -> None:
    """A2AError where `train` has not as many rows as when the run began; the `main` rank writes down how many there are."""
    rows, run = job.data["train"], job.run
    several = len(rows) if isinstance(rows, Sized) else None
    known = run.state.get("rows")
    if job.resume is not None and None not in (several, known) and several != known:
        raise A2AError(
            f"`train` has {several} rows now, and had {known} when the run began: its place in them is lost",
            hint="bring the old rows back, or begin a new run with `init_from`",
        )
    if main and several != known:
        run.update(rows=several)

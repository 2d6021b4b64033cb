"""A run's progress: a live line for people, JSON lines for machines, plain lines where there is no terminal."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

from a2a_cli.output import jsonable
from a2a_core.features import places
from a2a_core.reporter import Reporter, Silent

MANY = 12
"""Results that a line may have; of more, the metrics' own values alone."""
SHOWN = ("loss", "learning_rate", "grad_norm", "samples_per_second", "tokens_per_second")
"""What the log line begins with, in this order."""


def reporter(as_json: bool, main: bool = True) -> Reporter:
    """The one that fits: ranks but the main one say nothing."""
    if not main:
        return Silent()
    return JsonReporter() if as_json else RichReporter()


class Pace:
    """When a word on how far a preparation is is due: every few seconds, and at its end if there was one before."""

    def __init__(self, every: float) -> None:
        self.every, self.what = every, ""
        self.began = self.told = 0.0
        self.spoken = False

    def due(self, what: str, done: int, total: int) -> bool:
        """Whether to say it now."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.told, self.spoken = what, now, now, False
        over = done >= total
        say = self.spoken if over else now - self.told >= self.every
        if say:
            self.told, self.spoken = now, True
        if over:
            self.what = ""
        return say

    def left(self, done: int, total: int) -> float:
        """Seconds, if it goes on as so far."""
        return (time.monotonic() - self.began) * (total - done) / max(1, done)


class JsonReporter:
    """One JSON object a line on stdout."""

    def __init__(self) -> None:
        self.pace = Pace(1.0)

    def emit(self, event: str, **values: Any) -> None:
        """Write it now."""
        print(json.dumps(jsonable({"event": event, **values}), ensure_ascii=False), flush=True)

    def prepare(self, what: str, done: int, total: int) -> None:
        """See Reporter."""
        if self.pace.due(what, done, total):
            self.emit("prepare", what=what, done=done, total=total, seconds_left=round(self.pace.left(done, total), 1))

    def features(self, encoder: str, found: int, computed: int, size: int) -> None:
        """See Reporter."""
        self.emit("features", encoder=encoder, found=found, computed=computed, bytes=size)

    def start(self, steps: int, done: int, trainable: int, total: int) -> None:
        """See Reporter."""
        self.emit("start", steps=steps, done=done, trainable_parameters=trainable, parameters=total)

    def step(self, step: int) -> None:
        """Said by `log`."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        self.emit("log", step=step, memory_mib=memory(), **values)

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        self.emit("evaluated", step=step, split=split, metrics=dict(values))

    def note(self, text: str) -> None:
        """See Reporter."""
        self.emit("note", text=text)

    def close(self) -> None:
        """Nothing is open."""


class RichReporter:
    """A bar on a terminal, with lines above it; lines alone elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)
        self.bar: Any = None
        self.task: Any = None
        self.steps = 0
        self.pace = Pace(0.25 if self.console.is_terminal else 10.0)

    def prepare(self, what: str, done: int, total: int) -> None:
        """See Reporter."""
        if self.pace.due(what, done, total):
            text = f"{what} {done:,}/{total:,}" + (f", {duration(self.pace.left(done, total))} left" if done < total else "")
            shown = f"{text:60}" if self.console.is_terminal else text  # each word is written over the one before
            self.console.print(shown, end="\r" if self.console.is_terminal and done < total else "\n", soft_wrap=True)

    def features(self, encoder: str, found: int, computed: int, size: int) -> None:
        """See Reporter."""
        self.line(f"features of `{encoder}`: {found:,} found in the cache, {computed:,} computed, {places.size(size)}")

    def start(self, steps: int, done: int, trainable: int, total: int) -> None:
        """See Reporter."""
        self.steps = steps
        share = f"all {total:,}" if trainable == total else f"{trainable:,} of {total:,}"
        self.line(f"training {share} parameters, {steps - done:,} optimizer steps" + (f" after {done:,}" if done else ""))
        if not self.console.is_terminal:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        self.task = self.bar.add_task("step", total=steps, completed=done)
        self.bar.start()

    def step(self, step: int) -> None:
        """See Reporter."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        if self.bar is not None:
            self.bar.update(self.task, description=f"loss {values.get('loss', 0):.4g}  {memory()} MiB")
        self.line(f"step {step:>{len(str(self.steps))}}/{self.steps}  " + line(values))

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        scalars = {name: value for name, value in values.items() if isinstance(value, int | float)}
        shown = scalars if len(scalars) <= MANY else {name: value for name, value in scalars.items() if "/" not in name}
        more = f"  and {len(scalars) - len(shown)} more" if len(shown) < len(scalars) else ""
        told = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.line(f"[bold]{split}[/bold] after step {step}  {told}{more}")

    def note(self, text: str) -> None:
        """See Reporter."""
        self.console.print(f"note: {text}", style="yellow", markup=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """One line above the bar."""
        self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """See Reporter."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `2.5 h`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def line(values: Mapping[str, Any]) -> str:
    """A record in a line: the loss first, its terms, the rest."""
    terms = sorted(name for name in values if name.startswith(("loss/", "grad_norm/")))
    several = terms if sum(name.startswith("loss/") for name in terms) > 1 else [n for n in terms if n.startswith("grad")]
    names = [name for name in ("loss", *several, *SHOWN[1:]) if name in values]
    return "  ".join(f"{name.replace('_per_second', '/s')} {values[name]:.4g}" for name in names)


def memory() -> int:
    """The process's peak memory in MiB; a GPU's, where one computes."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform != "darwin" else peak // 2**20

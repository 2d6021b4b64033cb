"""Runs of the toy recipe, and what is read from them."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from a2a_core.job import Result
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run, create
from a2a_core.training import start, train

Recipe = Callable[..., Path]


def fit(recipe: Path, folder: Path, *sets: str, resume: bool = False, reporter: Silent | None = None) -> tuple[Result, Run]:
    loaded = load_recipe(recipe, None, sets, for_run=True)
    run = Run(folder) if resume else create(folder)
    if not resume:
        start(run, loaded, recipe)
    result = train(loaded, run, reporter or Silent(), [], resume)
    assert result is not None
    return result, run


def weights(run: Run) -> torch.Tensor:
    state = load_file(run.model / "model.safetensors")
    return torch.cat([state[name].flatten() for name in sorted(state)])


def history(run: Run, split: str = "train") -> list[dict[str, float]]:
    return [record for line in run.metrics.read_text().splitlines() if (record := json.loads(line))["split"] == split]


class Stopper(Silent):
    """Keeps notes; presses Ctrl-C after so many steps."""

    def __init__(self, after: int = -1) -> None:
        self.after = after
        self.notes: list[str] = []

    def step(self, step: int) -> None:
        if step == self.after:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)

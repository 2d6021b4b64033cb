from collections.abc import Callable
from pathlib import Path

import pytest

from a2a_core.job import Result
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run, create
from a2a_core.training import start, train


def fit(recipe: Path, folder: Path, *sets: str, resume: bool = False) -> tuple[Result, Run]:
    loaded = load_recipe(recipe, None, sets, for_run=True)
    run = Run(folder) if resume else create(folder)
    if not resume:
        start(run, loaded, recipe)
    result = train(loaded, run, Silent(), [], resume)
    assert result is not None
    return result, run


def test_trains(recipe: Callable[..., Path], tmp_path: Path) -> None:
    result, run = fit(recipe(), tmp_path / "run")
    assert result.status == "done"
    assert result.steps == 6
    assert run.status == "done"

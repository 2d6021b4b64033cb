"""Runs whose losses compare all rows of a step, which is more than fits at once."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_runs import Recipe, Stopper, fit, history, weights

from a2a_core import A2AError, RunFailed
from a2a_core.builtin.pad import Pad
from a2a_core.recipe import load_recipe

WINDOW = ('use = "squared"', 'use = "window"')
SGD = ('use = "hf"', 'use = "hf"\noptimizer = "sgd"\nmax_grad_norm = 0.0')
GAPS = ('use = "toy"', 'use = "toy"\nunlabelled = 3\nabsent = 4')
BESIDE = '[losses.more]\nuse = "squared"\nhead = "number"\nweight = 0.1\n'


@pytest.mark.parametrize(
    "sets",
    [
        ("trainer.micro_batch=2",),
        ("trainer.micro_batch=3", "trainer.workers=1"),
        ("trainer.micro_batch=8", "trainer.micro_tokens=15"),
    ],
)
def test_chunks_are_a_whole_step(recipe: Recipe, tmp_path: Path, sets: tuple[str, ...]) -> None:
    path = recipe(WINDOW, SGD, GAPS, more=BESIDE)
    _, whole = fit(path, tmp_path / "whole")
    _, parts = fit(path, tmp_path / "parts", *sets)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert len(history(whole)) == len(history(parts)) == 6
    for one, other in zip(history(whole), history(parts), strict=True):
        for name in ("loss", "loss/fit/told", "loss/more/squared", "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_goes_on_to_the_same_weights(recipe: Recipe, tmp_path: Path, after: int) -> None:
    """Bit for bit, with dropout; it stops after the step that follows, and the third is an epoch's last."""
    path = recipe(WINDOW, ('use = "reference"', 'use = "dropped"'), ('use = "hf"', 'use = "hf"\nmicro_batch = 3'), more=BESIDE)
    _, never = fit(path, tmp_path / "never")
    result, run = fit(path, tmp_path / "stopped", reporter=Stopper(after))
    assert (result.status, result.steps) == ("interrupted", after + 1)
    result, run = fit(path, run.folder, resume=True)
    assert (result.status, result.steps) == ("done", 6)
    assert torch.equal(weights(never), weights(run))
    assert [record["loss"] for record in history(never)] == [record["loss"] for record in history(run)]


def test_bad_rows_are_set_aside(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(WINDOW, ('use = "toy"', 'use = "toy"\nspoiled = [3, 5]'), ("seed = 3", "seed = 3\nbad_rows = 0.1"))
    result, run = fit(path, tmp_path / "run", "trainer.micro_batch=3")
    assert result.status == "done"
    rows = [json.loads(line) for line in run.quarantine.read_text().splitlines()]
    assert sorted(row["place"] for row in rows) == ["toy:3", "toy:5"]


def test_nan_dumps_every_chunk(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(WINDOW, more=BESIDE + "poison = 2.0\n")
    with pytest.raises(RunFailed, match="is not finite"):
        fit(path, tmp_path / "run", "trainer.micro_batch=3")
    (about,) = (tmp_path / "run" / "nan").glob("step-*.json")
    found = json.loads(about.read_text())
    dumped = [load_file(about.with_name(f"{about.stem}-{place}.safetensors")) for place in range(len(found["ids"]))]
    assert [len(ids) for ids in found["ids"]] == [len(each["targets.number.value"]) for each in dumped]
    assert len(dumped) > 1
    assert any(bool((each["targets.number.value"] > 2).any()) for each in dumped)


def test_rows_that_are_alike_come_in_different_steps(recipe: Recipe, tmp_path: Path) -> None:
    """The toy's rows have no twins unless it is told to."""
    told = Stopper()
    fit(recipe(WINDOW), tmp_path / "run", reporter=told)
    assert not told.notes
    told = Stopper()
    _, run = fit(recipe(WINDOW, ('use = "toy"', 'use = "toy"\ntwins = 5')), tmp_path / "twins", reporter=told)
    (note,) = told.notes
    assert "no two rows with the same `left`, and one value stands in 5 of 20 rows: an epoch has 5 steps, not 3" in note
    assert len(history(run)) == 10


@pytest.mark.parametrize("only", ["count = 1", "count = 6\ntwins = 6"])
def test_rows_of_which_no_step_holds_two_are_refused(recipe: Recipe, tmp_path: Path, only: str) -> None:
    path = recipe(WINDOW, ('[data.train]\nuse = "toy"', f'[data.train]\nuse = "toy"\n{only}'))
    with pytest.raises(A2AError, match=r"`train` has 1 row\(s\) of different `left`, and loss `fit` compares"):
        fit(path, tmp_path / "run")


@pytest.mark.parametrize(
    ("sets", "message"),
    [((), "no two rows of a step may share `left`"), (("trainer.micro_batch=2",), "the gradient cache would tear")],
)
def test_rows_that_share_places_are_refused(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(Pad, "group", staticmethod(lambda lengths: []), raising=False)
    with pytest.raises(A2AError, match=message):
        fit(recipe(WINDOW), tmp_path / "run", *sets)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("trainer.micro_batch=9",), "`trainer.micro_batch`: 9 rows at once are more than the 8 of a step"),
        (("trainer.batch_size=1",), "`trainer.batch_size` = 1: loss `fit` compares the rows of a step with one another"),
        (("trainer.evaluate_first=true", "trainer.evaluate=no"), "`evaluate_first` needs evaluations"),
        (("trainer.micro_tokens=9",), "`micro_tokens` bounds what `micro_batch` rows may come to"),
        (
            ("trainer.micro_tokens=9", "trainer.micro_batch=4", "losses.fit={use='squared', head='number'}"),
            "there is no such loss",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(recipe: Recipe, sets: tuple[str, ...], message: str) -> None:
    """Where the recipe is checked, before anything is built."""
    with pytest.raises(A2AError, match=message):
        load_recipe(recipe(WINDOW), None, sets, for_run=True)

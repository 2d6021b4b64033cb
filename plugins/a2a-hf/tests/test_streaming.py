import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy_runs import Stopper, fit, history, weights

from a2a_core import A2AError
from a2a_core.recipe import load_recipe

Recipe = Callable[..., Path]
TRAIN = '[data.train]\nuse = "toy"'
STREAM = (TRAIN, '[data.train]\nuse = "toy-stream"')
STEPS = ('use = "hf"', 'use = "hf"\nmax_steps = 7')


def test_epochs_are_the_streams_own(recipe: Recipe, tmp_path: Path) -> None:
    """20 rows, 8 a step: the third step is an epoch's last, and has 4."""
    stopper = Stopper()
    result, run = fit(recipe(STREAM, STEPS), tmp_path / "run", reporter=stopper)
    assert (result.status, result.steps) == ("done", 7)
    assert stopper.notes[0] == "[data.train] it flows"
    assert [record["step"] for record in history(run, "validation")] == [3, 6, 7]
    assert [record["epoch"] for record in history(run)] == [0, 0, 1, 1, 1, 2, 2]
    assert history(run)[-1]["loss"] < history(run)[0]["loss"]
    position = json.loads((run.checkpoints / "checkpoint-6" / "data.json").read_text())
    assert position == [{"epoch": 2, "lanes": 8, "groups": 1, "seen": 0, "most": 20, "turn": 0, "states": {}}]
    position = json.loads((run.checkpoints / "checkpoint-7" / "data.json").read_text())
    assert position[0]["seen"] == 8


@pytest.mark.parametrize(("asked", "workers", "after"), [(1, 0, 0), (3, 2, 2), (4, 2, 0)])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, asked: int, workers: int, after: int
) -> None:
    """With workers an epoch is dealt out to them, and stays so where a run goes on with none."""
    path = recipe(STREAM, STEPS, ('use = "reference"', 'use = "dropped"'), ('use = "hf"', 'use = "hf"\nmicro_batch = 4'))
    _, never = fit(path, tmp_path / "never", f"trainer.workers={workers}")
    result, run = fit(path, tmp_path / "stopped", f"trainer.workers={workers}", reporter=Stopper(asked))
    assert (result.status, result.steps) == ("interrupted", asked + 1)
    result, run = fit(path, run.folder, f"trainer.workers={after}", resume=True)
    assert result.status == "done"
    same = 7 if workers == after else 6  # the next epoch is dealt out anew
    for split in ("train", "validation"):
        wanted, found = ([each for each in history(one, split) if each["step"] <= same] for one in (never, run))
        assert [record["step"] for record in found] == [record["step"] for record in wanted]
        assert [record["loss"] for record in found] == [record["loss"] for record in wanted]
    if workers == after:
        assert torch.equal(weights(never), weights(run))


def test_accumulation_is_a_bigger_batch(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(STREAM, STEPS)
    _, whole = fit(path, tmp_path / "whole")
    _, parts = fit(path, tmp_path / "parts", "trainer.micro_batch=2", "trainer.workers=1")
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    assert [each["loss"] for each in history(whole)] == pytest.approx([each["loss"] for each in history(parts)], rel=1e-5)


def test_a_full_step_or_none(recipe: Recipe, tmp_path: Path) -> None:
    _, run = fit(recipe(STREAM, STEPS), tmp_path / "run", "trainer.tail=drop")
    assert [record["epoch"] for record in history(run)] == [0, 1, 1, 2, 2, 3, 3], "two steps of 8 rows, 4 rows dropped"


def test_a_stream_is_evaluated_in_its_order(recipe: Recipe, tmp_path: Path) -> None:
    numbered = recipe(STEPS)
    _, one = fit(numbered, tmp_path / "rows")
    _, other = fit(
        recipe(STEPS, ('[data.validation]\nuse = "toy"', '[data.validation]\nuse = "toy-stream"')), tmp_path / "stream"
    )
    assert torch.equal(weights(one), weights(other))
    wanted, found = history(one, "validation")[-1], history(other, "validation")[-1]
    assert (found["error"], found["loss"]) == pytest.approx((wanted["error"], wanted["loss"]), rel=1e-6)


def test_a_bad_shard_is_set_aside_once(recipe: Recipe, tmp_path: Path) -> None:
    broken = (TRAIN, STREAM[1] + "\nbroken = [1]")
    _, run = fit(recipe(broken, STEPS), tmp_path / "run", "bad_rows=0.1")
    records = [json.loads(line) for line in run.quarantine.read_text().splitlines()]
    assert [(record["split"], record["place"], record["reason"]) for record in records] == [("train", "shard-1", "half a body")]
    with pytest.raises(A2AError) as error:
        fit(recipe(broken, STEPS), tmp_path / "strict", "bad_rows=0.01")
    assert "1 of 19 rows of `train` are bad, more than `bad_rows` = 0.01 allows" in str(error.value), "once all were read"


@pytest.mark.parametrize(
    ("replaced", "message", "hint"),
    [
        ((STREAM,), "nobody knows how many steps its epochs have", "set `trainer.max_steps`"),
        ((('use = "hf"', 'use = "hf"\ntail = "drop"'),), "is for rows that come as a stream", "leave it out"),
        ((STREAM, STEPS, ('use = "squared"', 'use = "window"')), "no two rows of a step to share `left`", "knows its rows"),
        ((STREAM, STEPS, ("[encoders.left]", "[encoders.lefft]")), "none of the first 20 rows of the stream has it", "lefft"),
    ],
)
def test_what_streams_cannot_do_is_told(
    recipe: Recipe, tmp_path: Path, replaced: tuple[tuple[str, str], ...], message: str, hint: str
) -> None:
    with pytest.raises(A2AError) as error:
        fit(recipe(*replaced), tmp_path / "run")
    assert message in str(error.value)
    assert hint in str(error.value)


def test_a_run_that_goes_on_lists_none_of_what_it_has_done(recipe: Recipe, tmp_path: Path) -> None:
    """Rows by number, too: Trainer would walk through every batch that is behind."""
    path = recipe(('use = "toy"', 'use = "toy"\ncount = 80'))
    _, never = fit(path, tmp_path / "never")
    _, run = fit(path, tmp_path / "run", reporter=Stopper(7))
    _, run = fit(path, run.folder, resume=True)
    assert torch.equal(weights(never), weights(run))
    wanted, found = ([(each["step"], each["epoch"]) for each in history(one)] for one in (never, run))
    assert found == wanted
    assert load_recipe(path, None, for_run=True).recipe.data["train"].streams is False

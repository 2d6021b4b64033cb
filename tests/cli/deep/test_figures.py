"""What `a2a check --deep` reckons, and what it takes itself."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest


def test_what_fits_is_larger_with_more_room_and_nothing_fits_into_nothing(deep: Any) -> None:
    fits = [deep(options=("--fit", size))["deep"]["fit"] for size in ("1KiB", "100MB", "1GiB")]
    rows = [each["fittings"][0]["micro_batch"] for each in fits]
    assert rows[0] == 0 < rows[1] < rows[2]
    assert fits[0]["settings"] == {}
    assert "nothing fits" in fits[0]["advice"]
    assert all(each["peak"] <= 0.9 * 2**30 for each in fits[2]["fittings"])


def test_the_estimate_is_what_training_takes(folder: Path) -> None:
    """The ledger of a real training, through the real trainer: what lives beside the model at the worst moment."""
    from a2a_core.deep import Ask, check
    from a2a_core.deep.ledger import Ledger
    from a2a_core.job import assemble
    from a2a_core.recipe import load_recipe
    from a2a_core.reporter import Silent
    from a2a_core.runs import create

    sets = [
        "encoders.text.width=128",
        "trainer.micro_batch=0",
        'trainer.evaluate="no"',
        'trainer.save="no"',
        "trainer.max_steps=3",
    ]
    loaded = load_recipe(Path("recipe.toml"), None, sets, environ={}, for_run=True)
    single = check(loaded, Ask()).memory[0]
    job = assemble(loaded, create(folder / "run"), Silent())
    fit: Any = loaded.recipe.trainer.build(job)
    with Ledger([*job.model.parameters(), *job.model.buffers()]) as ledger:
        fit.engine.train()
    assert single.peak - single.weights == pytest.approx(ledger.peaks.first, rel=0.15)


LARGE = """
[data.train]
use = "csv"
path = "train.csv"
[encoders.text]
use = "hf-text"
[encoders.text.config]
model_type = "qwen2"
vocab_size = 152064
hidden_size = 3584
intermediate_size = 18944
num_hidden_layers = 28
num_attention_heads = 28
num_key_value_heads = 4
[fusion]
use = "concat"
[heads.mood]
use = "classify"
[losses.mood]
use = "cross-entropy"
head = "mood"
[trainer]
batch_size = 1
precision = "bf16"
"""


def test_seven_billion_parameters_take_little_time_and_less_than_a_gigabyte(folder: Path) -> None:
    """Time is CPU time, twice what it should be: other tests run beside this one. `benchmarks/deep_check.py` measures it."""
    Path("recipe.toml").write_text(LARGE)
    began = time.perf_counter()
    command = [sys.executable, "-m", "a2a_cli", "check", "--deep", "recipe.toml", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert (process.returncode, found["problems"]) == (0, [])
    assert found["deep"]["parameters"] > 7e9
    assert usage.ru_maxrss < 1e6, "KiB"
    assert usage.ru_utime < 20, f"{time.perf_counter() - began:.0f} s on the wall"

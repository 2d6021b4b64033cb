"""A language model from scratch, and the counts that it has to beat."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a

EXAMPLE = Path(__file__).parents[2] / "examples" / "shakespeare"
DATA = EXAMPLE.parents[2] / "shared" / "data" / "tinyshakespeare"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_baseline_by_hand() -> None:
    """After `ab` comes twice: without context N = 6, D = 3 (a, b and the end), so p(b) = (2 + 3 / 257) / 9; after `a`
    N = 2 and D = 1, so p(b) = (2 + p) / 3."""
    baseline = script("baseline")
    a, b = 97, 98
    counts = baseline.counted([[a, b, 256], [a, b, 256]])
    alone = (2 + 3 / 257) / 9
    after = (2 + alone) / 3
    found = baseline.losses(counts, [[a, b]])
    assert found[:3] == pytest.approx([-math.log(alone), -math.log(after), -math.log(after)])


def test_the_baseline_spreads_one_over_all_symbols() -> None:
    baseline = script("baseline")
    counts = baseline.counted([[*b"to be or not to be", baseline.END]])
    chances = [math.exp(-baseline.losses(counts, [[*b"to", symbol]])[3] * 2) for symbol in range(257)]
    first = math.exp(-baseline.losses(counts, [[*b"to"]])[3])
    assert sum(chances) == pytest.approx(first)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set tinyshakespeare is not beside the repository")
def test_a_few_steps_learn_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is one of 1024: 6.9 nats; how frequent each is would make 6.1."""
    monkeypatch.setattr(sys, "argv", ["make_tokenizer.py"])
    tokenizer = script("make_tokenizer")
    tokenizer.main(DATA, tmp_path / "tokenizer")
    few = {"trainer.max_steps": 25, "trainer.report_to": [], "data.validation.limit": 4, "trainer.batch_size": 1}
    few |= {"fusion.tokenizer": tmp_path / "tokenizer", "fusion.config.num_hidden_layers": 1}
    settings = [word for name, value in few.items() for word in ("--set", f"{name}={value}")]
    run = tmp_path / "run"
    result = CliRunner().invoke(a2a, ["train", str(EXAMPLE / "recipe.toml"), "--out", str(run), *settings])
    assert result.exit_code == 0, result.output
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss"] < 6.1
    assert last["perplexity"] == pytest.approx(math.exp(last["loss"]))
    again = ["generate", str(run), "--raw", "ROMEO:", "--max-new-tokens", "5"]
    result = CliRunner().invoke(a2a, again)
    assert result.exit_code == 0, result.output

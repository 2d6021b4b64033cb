"""A small table of texts, and parts that nobody should have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

RECIPE = """
[data.train]
use = "csv"
path = "train.csv"
[data.validation]
use = "csv"
path = "validation.csv"
[encoders.text]
use = "embedding"
width = 16
layers = 1
num_heads = 2
dropout = 0.0
[fusion]
use = "concat"
[heads.mood]
use = "classify"
[losses.mood]
use = "cross-entropy"
head = "mood"
[metrics.accuracy]
use = "accuracy"
head = "mood"
[trainer]
batch_size = 8
micro_batch = 4
report_to = []
[backend]
device = "cpu"
"""
TRAIN = "text,label,size\n" + "very good,glad,1\nbad,sad,2\n" * 20
STRANGE = '''
import torch
from torch import nn
from a2a_core import EncoderConfig, Item, Tokens, option


class Numbers:
    deterministic = True

    def __init__(self, extra): self.extra = extra
    def __call__(self, raw): return Item({"values": torch.ones(len(str(raw)))}, len(str(raw)) + self.extra)
    def pad(self, items): return {"values": nn.utils.rnn.pad_sequence([each.tensors["values"] for each in items], True)}
    def dummy(self): return Item({"values": torch.ones(1)}, 1)


class Module(nn.Module):
    width = 4

    def __init__(self, looks):
        super().__init__()
        self.looks, self.linear = looks, nn.Linear(1, 4)

    def forward(self, values):
        if self.looks:
            values = values[values.sum(1) > 0]
        return Tokens(self.linear(values[..., None]), torch.ones_like(values, dtype=torch.bool))


class Strange(EncoderConfig):
    """Looks at values, or says that there are more tokens than there are."""
    name = "strange"
    looks: bool = option("look at values", default=False)
    extra: int = option("tokens too many", default=0)
    def processor(self): return Numbers(self.extra)
    def build(self): return Module(self.looks)
'''


FREEZE = '''
from a2a_core import AdapterConfig

class Stone(AdapterConfig):
    """Freezes everything."""
    name = "stone"
    def apply(self, model): model.requires_grad_(False)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a recipe and its rows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "validation.csv").write_text("text,label,size\nfine,glad,1\n")
    return tmp_path


@pytest.fixture
def deep(folder: Path, run: Callable[..., Result]) -> Callable[..., Any]:
    """The report for machines, with the exit code; `sets` are overrides."""

    def check(*sets: str, options: tuple[str, ...] = ()) -> Any:
        words = [word for each in sets for word in ("--set", each)]
        result = run("check", "--deep", "recipe.toml", "--json", *options, *words)
        found = json.loads(result.stdout)
        assert (result.exit_code, result.stderr) == (0 if found["ok"] else 2, "")
        return found

    return check


@pytest.fixture
def strange(make_plugin: Any) -> None:
    """An encoder and an adapter that nobody should have."""
    make_plugin(
        "acme-strange",
        {"a2a_encoders": {"strange": "acme_strange.parts:Strange"}, "a2a_adapters": {"stone": "acme_strange.stone:Stone"}},
        parts=STRANGE,
        stone=FREEZE,
    )

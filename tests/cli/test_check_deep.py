"""`a2a check --deep`, with the real plugins, on a small table of texts."""

import json
import os
import subprocess
import sys
import time
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


def test_people_see_the_model_the_rows_and_the_memory(folder: Path, run: Callable[..., Result]) -> None:
    result = run("check", "--deep", "recipe.toml", "--fit", "1GiB")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    encoder = next(line for line in lines if line[:1] == ["encoders.text"])
    assert encoder[1:6] == ["embedding", "input_ids", "4x10,", "mask", "4x10"] or "4x10x16" in encoder
    assert ["2", "10", "mood:", "glad"] in lines
    assert ["3", "4", "mood:", "sad"] in lines
    assert "padding: text 30%" in result.output, "10 and 4 tokens, in turns"
    assert "counted: mood/cross_entropy 8" in result.output
    for backend in ("single", "ddp", "zero-1", "zero-2", "zero-3", "fsdp"):
        assert any(line[:1] == [backend] for line in lines)
    assert 'set backend.use = "single", trainer.micro_batch = 8' in result.output
    assert "recipe.toml is fine" in result.output


def test_machines_see_the_same(deep: Any) -> None:
    found = deep(options=("--samples", "3", "--ranks", "2"))["deep"]
    assert [each["path"] for each in found["parts"]] == ["encoders.text", "fusion", "heads.mood", "losses.mood"]
    assert found["parts"][0]["outputs"] == {"values": [4, 10, 16]}
    assert found["parameters"] == found["trainable"] == sum(each["parameters"] for each in found["parts"])
    assert [(row["tokens"], row["supervised"]) for row in found["samples"] if row["split"] == "train"] == [
        ({"text": 10}, {"mood": "glad"}),
        ({"text": 4}, {"mood": "sad"}),
        ({"text": 10}, {"mood": "glad"}),
    ]
    assert {each["split"]: each["rows"] for each in found["batches"]} == {"train": 40, "validation": 1}
    single, ddp = found["memory"][:2]
    assert single["weights"] >= 4 * found["parameters"]
    assert single["optimizer"] >= 2 * single["gradients"]
    assert single["peak"] < ddp["peak"] <= single["peak"] + ddp["buffers"]
    assert ddp["buffers"] == single["gradients"]
    assert found["flops"] == 2 * sum(each["flops"] for each in found["parts"])
    assert found["notes"] == []


def test_without_micro_batches_a_rank_takes_its_share_of_a_step(deep: Any) -> None:
    found = deep("trainer.micro_batch=0", "trainer.batch_size=64", options=("--ranks", "8"))["deep"]
    assert [each["rows"] for each in found["memory"]] == [64, 8, 8, 8, 8, 8]
    single, ddp = found["memory"][:2]
    of_eight = deep("trainer.micro_batch=0", "trainer.batch_size=8")["deep"]["memory"][0]
    assert ddp["activations"] == of_eight["activations"] < single["activations"] / 4
    assert ddp["peak"] == of_eight["peak"] + ddp["buffers"]
    few = deep("trainer.micro_batch=0", "trainer.batch_size=4", options=("--ranks", "8"))["deep"]
    assert [each["rows"] for each in few["memory"][:2]] == [4, 1]
    assert any("4 rows of a step do not divide by 8 ranks" in each for each in few["assumptions"])


def test_with_micro_batches_every_rank_takes_one(deep: Any) -> None:
    assert {each["rows"] for each in deep("trainer.batch_size=64")["deep"]["memory"]} == {4}


GROUPS = """
[[trainer.groups]]
match = "encoders.*"
[[trainer.groups]]
match = "fusion.*|heads.*"
learning_rate = 1e-3
"""


def test_groups_are_shown_where_parameters_fall(folder: Path, deep: Any) -> None:
    with Path("recipe.toml").open("a") as file:
        file.write(GROUPS)
    found = deep()["deep"]
    assert {each["path"]: each["groups"] for each in found["parts"]} == {
        "encoders.text": ["encoders.*"],
        "fusion": ["fusion.*|heads.*"],
        "heads.mood": ["fusion.*|heads.*"],
        "losses.mood": [],
    }
    assert sum(found["groups"].values()) == found["trainable"]


def test_what_is_frozen_takes_neither_gradients_nor_states(deep: Any) -> None:
    whole, frozen = deep()["deep"], deep("encoders.text.freeze=true", "encoders.text.cache=false")["deep"]
    assert frozen["parts"][0]["trainable"] == 0
    assert frozen["trainable"] < whole["trainable"]
    before, after = whole["memory"][0], frozen["memory"][0]
    assert after["weights"] == before["weights"]
    assert after["gradients"] == 4 * frozen["trainable"]
    assert after["activations"] < before["activations"]
    assert after["optimizer"] < before["optimizer"]


MISTAKES = {
    "a field that no row has": (("heads.mood.field=lable",), "no row of train.csv has a field `lable`"),
    "an encoder's field that no row has": (("encoders.text.field=txt",), "reads field `txt`"),
    "labels that are no class": (('heads.mood.classes=["glad","mad"]',), "the label `sad` is none of the 2 classes"),
    "a loss that does not fit its head": (("losses.mood={use='mse',head='mood'}",), "[losses.mood]"),
    "a metric that does not fit its head": (("metrics.accuracy={use='mae',head='mood'}",), "[metrics.accuracy]"),
    "everything frozen": (("adapters=[{use='stone'}]",), "every parameter is frozen"),
    "a group that matches nothing": (("trainer.groups=[{match='*'},{match='encoder.*'}]",), "group `encoder.*`"),
    "parameters in two groups": (("trainer.groups=[{match='*'},{match='fusion.*'}]",), "matches `*` and `fusion.*`"),
    "rows that do not divide": (("trainer.micro_batch=3",), "does not divide by `trainer.micro_batch` = 3"),
    "a part that cannot compute again": (("trainer.gradient_checkpointing=true",), "no part of this model can"),
    "a head without a loss": (('heads.size={use="regress",field="size"}',), "receive no gradient: heads.size"),
    "an item's length that is no length": (("encoders.text.use=strange", "encoders.text.extra=2"), "the encoder emits"),
    "an optimizer that is not there": (("trainer.optimizer=adamw_torch_4bit",), "optimizer `adamw_torch_4bit`"),
}
FREEZE = '''
from a2a_core import AdapterConfig

class Stone(AdapterConfig):
    """Freezes everything."""
    name = "stone"
    def apply(self, model): model.requires_grad_(False)
'''


@pytest.fixture
def strange(make_plugin: Any) -> None:
    """An encoder and an adapter that nobody should have."""
    make_plugin(
        "acme-strange",
        {"a2a_encoders": {"strange": "acme_strange.parts:Strange"}, "a2a_adapters": {"stone": "acme_strange.stone:Stone"}},
        parts=STRANGE,
        stone=FREEZE,
    )


@pytest.mark.usefixtures("strange")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_meaning_is_found(deep: Any, name: str) -> None:
    sets, message = MISTAKES[name]
    found = deep(*(each.replace("heads.size", "heads.weight") for each in sets))
    assert not found["ok"]
    assert message.replace("heads.size", "heads.weight") in "\n".join(each["message"] for each in found["problems"])


def line(start: str) -> str:
    """Where the recipe has such a line."""
    lines = RECIPE.splitlines()
    return f"recipe.toml:{next(place for place, each in enumerate(lines, 1) if each.startswith(start))}"


def test_mistakes_are_told_all_at_once_with_their_lines(folder: Path, run: Callable[..., Result]) -> None:
    Path("recipe.toml").write_text(
        RECIPE.replace('"cross-entropy"', '"mse"').replace('"accuracy"', '"mae"').replace("micro_batch = 4", "micro_batch = 3")
    )
    Path("validation.csv").write_text("text,label,size\nfine,glaad,1\n")
    result = run("check", "--deep", "recipe.toml")
    assert result.exit_code == 2
    for message in (
        "[losses.mood]",
        "[metrics.accuracy]",
        "does not divide",
        "`glaad`",
        line("[losses.mood]"),
        line("[metrics"),
    ):
        assert message in result.stderr
    assert "encoders.text" in result.stdout, "what could be found out is shown"
    assert "Traceback" not in result.output


def test_bad_rows_are_shown_with_their_reason(folder: Path, deep: Any) -> None:
    Path("train.csv").write_text(TRAIN.replace("bad,sad,2", ",sad,2", 1).replace("bad,sad,2", "bad,sade,2", 1))
    found = deep('heads.mood.classes=["glad","sad"]', "bad_rows=0.1")
    assert found["ok"]
    rows = [row for row in found["deep"]["samples"] if row["split"] == "train"]
    assert rows[1]["tokens"] == {"text": 0}, "a modality may be missing"
    assert "did you mean `sad`?" in rows[3]["error"]
    assert found["deep"]["batches"][0]["counts"] == {"mood/cross_entropy": 7}
    worse = deep('heads.mood.classes=["glad","sad"]', "bad_rows=0.0")
    assert "train.csv:5" in worse["problems"][0]["message"]


def test_what_sources_say_of_their_rows_is_shown(folder: Path, deep: Any, run: Callable[..., Result]) -> None:
    rows = [{"text": "good", "labels": [{"label": "glad"}, {"label": "sad"}]}] * 4 + [{"text": "bad", "labels": []}]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ['data.train={use="jsonl",path="train.jsonl",explode="labels"}']
    wanted = "[data.train] 1 of 5 rows of train.jsonl have nothing in `labels` and give no sample"
    assert deep(*sets)["deep"]["row_notes"] == [wanted]
    assert deep()["deep"]["row_notes"] == []
    shown = run("check", "--deep", "recipe.toml", "--set", *sets).output
    assert f"about the rows\n  - {wanted}" in shown


def test_rows_that_supervise_nothing_are_a_mistake(folder: Path, deep: Any) -> None:
    Path("train.csv").write_text(TRAIN.replace("glad", "").replace("sad", ""))
    found = deep('heads.mood.classes=["glad","sad"]')
    assert "none of the first 40 training rows has a target" in found["problems"][0]["message"]


@pytest.mark.usefixtures("strange")
def test_a_part_that_cannot_be_traced_is_a_note(deep: Any) -> None:
    found = deep("encoders.text.use=strange", "encoders.text.looks=true")
    assert found["ok"], found["problems"]
    assert "`encoders.text` cannot be traced (DynamicOutputShapeException" in found["deep"]["notes"][0]
    assert found["deep"]["memory"][0]["weights"] > 0
    assert found["deep"]["parts"][1]["outputs"]["pooled"], "the fusion goes on"


@pytest.mark.usefixtures("strange")
def test_positions_that_no_item_asks_for_are_a_note(deep: Any) -> None:
    found = deep("encoders.text.use=strange", "encoders.text.extra=-2")
    assert found["deep"]["notes"] == [
        "whether the 2 positions that `encoders.text` emits beyond its longest item (7 tokens) are masked"
    ]


def test_what_fits_is_larger_with_more_room_and_nothing_fits_into_nothing(deep: Any) -> None:
    fits = [deep(options=("--fit", size))["deep"]["fit"] for size in ("1KiB", "100MB", "1GiB")]
    rows = [each["fittings"][0]["micro_batch"] for each in fits]
    assert rows[0] == 0 < rows[1] < rows[2]
    assert fits[0]["settings"] == {}
    assert "nothing fits" in fits[0]["advice"]
    assert all(each["peak"] <= 0.9 * 2**30 for each in fits[2]["fittings"])


@pytest.mark.parametrize(
    "words", [("--samples", "3"), ("--fit", "1GiB"), ("--deep", "--fit", "much"), ("--deep", "--fit", "0")]
)
def test_options_that_make_no_sense_are_refused(folder: Path, run: Callable[..., Result], words: tuple[str, ...]) -> None:
    assert run("check", "recipe.toml", *words).exit_code == 2


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

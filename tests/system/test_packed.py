"""Language models from conversations with pictures: packed, with adapters, on two ranks, interrupted, with rows that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from a2a_core.runs import Run

RECIPE = """
[data.train]
use = "chat"
path = "train.jsonl"
[data.validation]
use = "chat"
path = "validation.jsonl"
[encoders.image]
use = "patch"
image_size = 8
patch_size = 4
width = 16
num_heads = 2
layers = 1
dropout = 0.0
[projectors.image]
use = "mlp"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 256
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[metrics.exact]
use = "sequence-accuracy"
head = "answer"
[collator]
use = "chat"
template = "plain"
packing = true
max_length = 128
[trainer]
max_steps = 6
batch_size = 2
learning_rate = 0.01
log_every = 1
save = "steps"
save_every = 2
evaluate = "no"
report_to = []
[backend]
device = "cpu"
"""
LORA = """
[[adapters]]
use = "lora"
part = "fusion"
r = 2
"""


def write_rows(folder: Path, name: str, count: int) -> None:
    """What colour is it? Some rows have no picture."""
    rows = []
    for index in range(count):
        colour = ("black", "white")[index % 2]
        Image.new("L", (8, 8), 250 * (index % 2)).save(folder / f"{name}{index}.png")
        asked = "say black" if index % 5 == 4 else "<image>what is it" + "?" * (index % 7)
        answer = "black" if index % 5 == 4 else colour
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        row = {"id": f"{name}-{index}", "messages": messages}
        rows.append(row if index % 5 == 4 else {**row, "images": [f"{name}{index}.png"]})
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def talk(place: Any) -> Any:
    write_rows(place.folder, "train", 40)
    write_rows(place.folder, "validation", 10)
    (place.folder / "talk.toml").write_text(RECIPE)
    return place


def sets(**values: Any) -> list[str]:
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


ONE_STEP = sets(trainer__max_steps=1, trainer__optimizer="sgd", trainer__save="no", trainer__batch_size=40)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_a_run_that_goes_on_reads_no_row_to_count_it_again(talk: Any) -> None:
    talk.run("train", "talk.toml", "--out", "whole")
    talk.run("train", "talk.toml", "--out", "parts")
    run = Run(talk.folder / "parts")
    for name in ("model", "checkpoints/checkpoint-6"):
        shutil.rmtree(run.folder / name)
    assert (run.folder / "lengths-train.safetensors").is_file()
    run.update(status="interrupted")
    assert "measured" not in talk.run("train", "--resume", str(run.folder)).output
    wanted, got = weights(talk.folder / "whole"), weights(run.folder)
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_packed_or_not_the_step_is_the_same(talk: Any, lora: bool) -> None:
    """One step over all rows, by plain gradient descent."""
    if lora:
        (talk.folder / "talk.toml").write_text(RECIPE + LORA)
    talk.run("train", "talk.toml", "--out", "packed", *ONE_STEP)
    talk.run("train", "talk.toml", "--out", "alone", *ONE_STEP, *sets(collator__packing="false"))
    talk.run("train", "talk.toml", "--out", "small", *ONE_STEP, *sets(trainer__micro_batch=5))
    wanted = weights(talk.folder / "alone")
    for other in ("packed", "small"):
        for name, value in weights(talk.folder / other).items():
            torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=1e-5, msg=name)


def test_two_ranks_take_the_step_of_one(talk: Any) -> None:
    given = sets(trainer__optimizer="sgd", trainer__save="no", trainer__max_steps=2)
    talk.run("train", "talk.toml", "--out", "one", *given)
    talk.run("train", "talk.toml", "--out", "two", *given, *sets(backend__use="ddp", backend__processes=2))
    wanted = weights(talk.folder / "one")
    for name, value in weights(talk.folder / "two").items():
        torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=1e-5, msg=name)


def test_text_is_learned_and_written(talk: Any) -> None:
    talk.run("train", "talk.toml", "--out", "run", *sets(trainer__max_steps=120, trainer__save="no"))
    assert json.loads(talk.run("eval", "run", "--json").stdout)["results"]["validation"]["exact"] == 1.0
    lines = (talk.folder / "validation.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in talk.run("predict", "run", "validation.jsonl").stdout.splitlines()]
    answers = [json.loads(line)["messages"][1]["content"] for line in lines]
    assert [row["predictions"]["answer"] for row in found] == answers


def test_a_second_stage_starts_with_the_weights_of_the_first(talk: Any) -> None:
    talk.run("train", "talk.toml", "--out", "first", *sets(trainer__max_steps=2))
    text = 'extends = "talk.toml"\ninit_from = "first"\n[trainer]\nmax_steps = 1\nlearning_rate = 1e-9\n'
    (talk.folder / "second.toml").write_text(text)
    talk.run("train", "second.toml", "--out", "second")
    wanted = weights(talk.folder / "first")
    for name, value in weights(talk.folder / "second").items():
        torch.testing.assert_close(value, wanted[name], atol=1e-7, rtol=1e-6, msg=name)
    said = talk.run("train", "second.toml", *sets(fusion__config__num_hidden_layers=3), code=2).output
    assert "lacks 9 tensor(s): fusion.model.model.layers.2" in said
    assert "there is no trained model at" in talk.run("train", "second.toml", *sets(init_from="none"), code=2).output


def test_rows_that_cannot_be_used(talk: Any) -> None:
    said = talk.run("train", "talk.toml", *sets(collator__max_length=4), code=2).output
    assert "no row of `train` can be used; " in said
    assert "at the most 4 are allowed" in said
    said = talk.run("train", "talk.toml", *sets(collator__max_length=16, collator__too_long="error"), code=2).output
    assert "tokens, and at the most 16 are allowed (`max_length`)" in said
    rows = [json.loads(line) for line in (talk.folder / "train.jsonl").read_text().splitlines()]
    rows[0]["images"] *= 2
    (talk.folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = talk.run("train", "talk.toml", code=2).output
    assert "train-0" in said
    assert "1 of 40 rows of `train` are bad" in said


def test_a_run_in_which_no_row_can_be_used_fails(talk: Any) -> None:
    given = sets(collator__packing="false", collator__max_length=4)
    said = talk.run("train", "talk.toml", "--out", "none", *given, code=2).output
    assert "no row of `train` could be used: nothing was trained" in said
    assert not (talk.folder / "none" / "model").exists()


def test_a_mix_of_conversations_reads_new_ones_as_its_sources_do(talk: Any) -> None:
    text = RECIPE.replace('[data.train]\nuse = "chat"', '[data.train]\nuse = "mix"\n[data.train.sources.a]\nuse = "chat"')
    (talk.folder / "talk.toml").write_text(text)
    talk.run("train", "talk.toml", "--out", "mixed", *sets(trainer__max_steps=1, trainer__save="no"))
    found = [json.loads(line) for line in talk.run("predict", "mixed", "validation.jsonl").stdout.splitlines()]
    assert not any("error" in row for row in found)


def test_bad_rows_are_judged_again_by_a_run_that_goes_on(talk: Any) -> None:
    given = sets(collator__max_length=16, collator__too_long="error")
    said = [talk.run("train", "talk.toml", "--out", "run", *given, code=2).output]
    if (talk.folder / "run").exists():
        said.append(talk.run("train", "--resume", "run", code=2).output)
    assert all("at the most 16 are allowed" in each for each in said)
    assert not (talk.folder / "run" / "lengths-train.safetensors").exists()

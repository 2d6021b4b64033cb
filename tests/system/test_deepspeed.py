"""ZeRO in whole runs: going on from a step in the middle of an epoch, adapters, steps in chunks, and what is exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from a2a_core.model import A2AModel
from a2a_core.runs import Run

LORA = """
seed = 1
[data.train]
use = "chat"
path = "said.jsonl"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 256
tie_word_embeddings = true
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[collator]
use = "chat"
template = "plain"
max_length = 96
[[adapters]]
use = "lora"
part = "fusion"
r = 4
[trainer]
max_steps = 4
batch_size = 8
learning_rate = 0.05
log_every = 1
save = "no"
evaluate = "no"
report_to = []
[backend]
device = "cpu"
"""
CHUNKS = """
seed = 1
[data.train]
use = "jsonl"
path = "pairs.jsonl"
[encoders.query]
use = "embedding"
width = 16
dropout = 0.0
[encoders.positive]
like = "query"
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
[losses.search]
use = "infonce"
head = "embedding"
learn_temperature = true
[trainer]
max_steps = 3
batch_size = 16
optimizer = "sgd"
learning_rate = 0.1
log_every = 1
save = "no"
evaluate = "no"
report_to = []
[backend]
device = "cpu"
"""
STEPS = {"trainer.save": "steps", "trainer.save_every": 1, "trainer.keep_last": 0, "trainer.weight_decay": 0.1}
ZERO = {stage: {"backend.use": "deepspeed", "backend.stage": stage, "backend.processes": 2} for stage in (2, 3)}
DDP = {"backend.use": "ddp", "backend.processes": 2}


def sets(values: dict[str, Any]) -> list[str]:
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def broken_off(source: Path, folder: Path, step: int) -> str:
    """A copy of a run, as if it had been killed after a step."""
    shutil.copytree(source, folder)
    run = Run(folder)
    shutil.rmtree(run.model)
    for each in run.checkpoints.glob("checkpoint-*"):
        if int(each.name.partition("-")[2]) > step:
            shutil.rmtree(each)
    run.update(status="killed")
    return folder.name


def exported(place: Any, name: str) -> bytes:
    found: bytes = (place.folder / name / "model" / "model.safetensors").read_bytes()
    return found


@pytest.fixture(scope="module")
def trained(workplace: Any, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with all runs: whole ones first, then those that go on from step 2 of the 3 of an epoch, with dropout."""
    folder = tmp_path_factory.mktemp("zero")
    for path in files.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    place = workplace(folder)
    place.recipe.write_text(place.recipe.read_text().replace("dropout = 0.0", "dropout = 0.1"))
    words = [f"{['warm', 'cold'][n % 2]} {['sun', 'moon', 'rain'][n % 3]} {n}" for n in range(24)]
    said = [
        [{"role": "user", "content": word}, {"role": "assistant", "content": word[::-1] * (1 + len(word) % 3)}]
        for word in words
    ]
    place.write([{"id": str(n), "messages": each} for n, each in enumerate(said)], "said")
    place.write([{"id": word, "query": word, "positive": word[::-1]} for word in words], "pairs")
    (folder / "lora.toml").write_text(LORA)
    (folder / "chunks.toml").write_text(CHUNKS)
    place.run("train", "lora.toml", "--out", "lora")
    place.run("train", "chunks.toml", "--out", "chunks")
    first = [["recipe.toml", "--out", f"zero-{stage}", *sets(values | STEPS)] for stage, values in ZERO.items()]
    first += [["recipe.toml", "--out", "ddp", *sets(DDP | STEPS)]]
    for stage, values in ZERO.items():
        first += [["lora.toml", "--out", f"lora-{stage}", *sets(values)]]
        first += [["chunks.toml", "--out", f"chunks-{stage}", *sets(values | {"trainer.micro_batch": 3})]]
    place.in_turn(*first)
    then = [["--resume", broken_off(folder / f"zero-{stage}", folder / f"again-{stage}", 2)] for stage in ZERO]
    for stage, values in ZERO.items():
        then += [["--resume", broken_off(folder / "ddp", folder / f"from-ddp-{stage}", 2), *sets(values)]]
    then += [["--resume", broken_off(folder / "zero-3", folder / "to-ddp", 2), *sets(DDP)]]
    place.in_turn(*then)
    return place


@pytest.mark.parametrize("stage", ZERO)
def test_a_run_goes_on_bit_for_bit_in_the_middle_of_an_epoch(trained: Any, stage: int) -> None:
    assert exported(trained, f"again-{stage}") == exported(trained, f"zero-{stage}")


@pytest.mark.parametrize(("name", "whole"), [("from-ddp-2", "ddp"), ("from-ddp-3", "ddp"), ("to-ddp", "zero-3")])
def test_a_run_goes_on_on_another_backend(trained: Any, name: str, whole: str) -> None:
    """Losses and norms to 1e-4: AdamW makes full steps of noise."""
    wanted, found = trained.history(whole), trained.history(name)
    assert [each["step"] for each in found] == [each["step"] for each in wanted] == [1, 2, 3, 4, 5, 6]
    for one, other in zip(wanted, found, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], abs=1e-4)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("stage", ZERO)
@pytest.mark.parametrize("recipe", ["lora", "chunks"])
def test_adapters_and_steps_in_chunks_are_those_of_one_process(trained: Any, recipe: str, stage: int) -> None:
    """Of chunks, ranks may have different numbers; a tied output layer is lent to the loss."""
    wanted, found = trained.history(recipe), trained.history(f"{recipe}-{stage}")
    assert len(wanted) == len(found) > 2
    for one, other in zip(wanted, found, strict=True):
        assert {name: other[name] for name in ("loss", "grad_norm")} == pytest.approx(
            {name: one[name] for name in ("loss", "grad_norm")}, rel=1e-5, abs=1e-5
        )
    tensors = [load_file(trained.folder / name / "model" / "model.safetensors") for name in (recipe, f"{recipe}-{stage}")]
    assert tensors[0].keys() == tensors[1].keys()


def test_what_is_exported_opens_everywhere(trained: Any) -> None:
    model = A2AModel.from_pretrained(trained.folder / "zero-3" / "model")
    saved = load_file(trained.folder / "zero-3" / "checkpoints" / "checkpoint-6" / "model.safetensors")
    own = model.state_dict()
    assert own.keys() == saved.keys()
    assert all(torch.equal(own[name], each) for name, each in saved.items())
    trained.run("eval", "zero-3", "--split", "validation")


def test_a_json_that_contradicts_the_recipe_is_told_before_anything_runs(place: Any) -> None:
    (place.folder / "ds.json").write_text(json.dumps({"train_batch_size": 4, "optimizer": {}, "zero_optimisation": {}}))
    place.replace("[backend]", '[backend]\nuse = "deepspeed"\nprocesses = 2\nconfig = "ds.json"')
    output = place.run("train", "recipe.toml", "--out", "run", code=2).output
    for text in ("`train_batch_size` is 4", "makes it 8", "`optimizer`", "did you mean `zero_optimization`", "recipe.toml:"):
        assert text in output
    assert not (place.folder / "run").exists()

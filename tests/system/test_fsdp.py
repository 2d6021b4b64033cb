"""Divided over two ranks, training is that of one process: language models with adapters, steps in chunks, resumed, exported."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from a2a_core.model import A2AModel
from a2a_core.runs import Run

TALK = """
[data.train]
use = "chat"
path = "talk.jsonl"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 128
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[collator]
use = "chat"
template = "plain"
packing = true
max_length = 64
[trainer]
max_steps = 6
batch_size = 4
learning_rate = 0.01
adam_epsilon = 1e-3
log_every = 1
save = "steps"
save_every = 1
keep_last = 0
report_to = []
[backend]
device = "cpu"
"""
TIED, HEADS = "tie_word_embeddings = true\n", "[heads.answer]"
LORA = """
[[adapters]]
use = "lora"
part = "fusion"
r = 2
"""
PAIRS = """
[data.train]
use = "jsonl"
path = "pairs.jsonl"
[data.validation]
use = "jsonl"
path = "pairs.jsonl"
[encoders.query]
use = "hf-text"
[encoders.query.config]
model_type = "bert"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 64
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
[encoders.positive]
like = "query"
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
pool = "attention"
[losses.search]
use = "infonce"
head = "embedding"
learn_temperature = true
[trainer]
max_steps = 3
batch_size = 16
micro_batch = 3
optimizer = "sgd"
learning_rate = 0.01
log_every = 1
evaluate = "steps"
evaluate_every = 2
save = "steps"
save_every = 2
load_best = true
report_to = []
[backend]
device = "cpu"
"""
ON_TWO = ("backend.use=fsdp", "backend.processes=2", "backend.timeout=120")
ALONE = {"tied": "tied.toml", "lora": "lora.toml", "qlora": "qlora.toml", "pairs": "pairs.toml"}
DIVIDED = {
    "tied-on-two": ("tied.toml", ()),
    "lora-on-two": ("lora.toml", ()),
    "lora-frozen": ("lora.toml", ("backend.shard_frozen=true", "trainer.micro_batch=1")),
    "tied-kept": ("tied.toml", ("backend.reshard_after_forward=false", "trainer.gradient_checkpointing=true")),
    "qlora-on-two": ("qlora.toml", ("backend.state=sharded",)),
    "pairs-on-two": ("pairs.toml", ()),
    "dropped": ("lora.toml", ("fusion.config.attention_dropout=0.2", "backend.state=sharded", "trainer.micro_batch=1")),
}
"""What runs on two ranks; but for the last one, each does what the run of one process does that it is named after."""


def write_rows(folder: Path) -> None:
    """Words for letters, of several lengths."""
    chance = random.Random(1)
    words = ["sun", "rain", "moonlight", "wind", "snow", "thunderstorm"]
    talk, pairs = [], []
    for index in range(30):
        word = words[index % len(words)]
        messages = [{"role": "user", "content": word[0] * (1 + index % 4)}, {"role": "assistant", "content": word}]
        talk.append({"id": str(index), "messages": messages})
        chosen = chance.sample(words, 3)
        pairs.append({"id": str(index), "query": f"{chosen[0]} {index}", "positive": " ".join(chosen) + f" {index}"})
    for name, rows in (("talk", talk), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def sets(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def cut(place: Any, name: str, copy: str, step: int) -> Run:
    """A copy of a run, as if it had been killed after a step."""
    run = Run(place.folder / copy)
    shutil.copytree(place.folder / name, run.folder)
    shutil.rmtree(run.model)
    for each in run.checkpoints.glob("checkpoint-*"):
        if int(each.name.partition("-")[2]) > step:
            shutil.rmtree(each)
    run.update(status="interrupted")
    return run


@pytest.fixture(scope="module")
def trained(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with all runs; tests only read it."""
    place = workplace(tmp_path_factory.mktemp("fsdp"))
    write_rows(place.folder)
    recipes = {
        "tied": TALK.replace(HEADS, f"{TIED}{HEADS}"),
        "lora": TALK + LORA,
        "qlora": TALK + LORA.replace("lora", "qlora"),
    }
    recipes["pairs"] = PAIRS
    for name, text in recipes.items():
        (place.folder / f"{name}.toml").write_text(text)
    for name, recipe in ALONE.items():
        place.run("train", recipe, "--out", name)
    place.in_turn(*([recipe, "--out", name, *sets(*ON_TWO, *more)] for name, (recipe, more) in DIVIDED.items()))
    goes_on = {cut(place, "dropped", "dropped-again", 3): (), cut(place, "tied", "tied-then-on-two", 3): ON_TWO}
    place.in_turn(*(["--resume", str(run.folder), *sets(*more)] for run, more in goes_on.items()))
    for name in ("lora-on-two", "dropped"):
        run = cut(place, name, f"{name}-then-alone", 3)
        place.run("train", "--resume", str(run.folder), *sets("backend.use=single"))
    return place


def weights(place: Any, name: str) -> dict[str, torch.Tensor]:
    return load_file(place.folder / name / "model" / "model.safetensors")


def numbers(place: Any, name: str) -> list[dict[str, float]]:
    """What of a run's records belongs to its steps, and not to the clock."""
    kept = ("step", "loss", "grad_norm", "learning_rate")
    return [{key: value for key, value in each.items() if key.startswith(kept)} for each in place.history(name)]


@pytest.mark.parametrize(
    "name", [*(name for name in DIVIDED if name != "dropped"), "tied-then-on-two", "lora-on-two-then-alone"]
)
def test_every_step_is_that_of_one_process(trained: Any, name: str) -> None:
    """With adapters, tied weights, chunks of the gradient cache; gone on with by another backend, too."""
    wanted, found = numbers(trained, name.partition("-")[0]), numbers(trained, name)
    assert len(wanted) == len(found) > 2
    for one, other in zip(wanted, found, strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", ["tied-on-two", "lora-on-two", "qlora-on-two", "pairs-on-two", "tied-then-on-two"])
def test_what_is_exported_is_one_model(trained: Any, name: str) -> None:
    """It loads as ever; without a better checkpoint it is the last one's."""
    wanted, found = weights(trained, name.partition("-")[0]), weights(trained, name)
    assert found.keys() == wanted.keys()
    loaded = A2AModel.from_pretrained(trained.folder / name / "model").state_dict()
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], atol=1e-5, rtol=1e-4, msg=key)
        assert torch.equal(loaded[key], value)


def tensors(place: Any, name: str, step: int = 2) -> dict[str, Any]:
    """What a checkpoint says it holds."""
    checkpoint = Run(place.folder / name).checkpoints / f"checkpoint-{step}"
    found: dict[str, Any] = json.loads((checkpoint / "manifest.json").read_text())["tensors"]
    return found


@pytest.mark.parametrize("name", ["tied-on-two", "lora-on-two", "lora-frozen", "pairs-on-two"])
def test_checkpoints_hold_what_those_of_one_process_hold(trained: Any, name: str) -> None:
    """Names, shapes, types; of what is frozen there is no optimizer state, sharded or not."""
    found = tensors(trained, name)
    assert found == tensors(trained, name.partition("-")[0])
    state = {each for each in found if each.startswith("optimizer.")}
    assert bool(state) is not name.startswith("pairs"), "sgd has none"
    assert {"lora_" in each for each in state} == ({name.startswith("lora")} if state else set())


def test_a_run_goes_on_to_the_same_weights(trained: Any) -> None:
    """With dropout, from each rank's shares, in the middle of an epoch: bit for bit."""
    assert not (Run(trained.folder / "dropped").checkpoints / "checkpoint-3" / "model.safetensors").exists()
    wanted, found = (weights(trained, name) for name in ("dropped", "dropped-again"))
    assert all(torch.equal(value, found[key]) for key, value in wanted.items())
    epoch = next(each["epoch"] for each in trained.history("dropped") if each["step"] == 3)
    assert epoch % 1
    assert weights(trained, "dropped-then-alone").keys() == wanted.keys()

"""Dual encoders: a step in chunks, on two ranks, interrupted; what becomes of the model afterwards."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.inference import Lines, Trained
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.runs import Run
from a2a_llm.hf_multimodal_encoder import HfMultimodalEncoder
from a2a_retrieval.embedder import Embedder
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.separate import Separate

RECIPE = """
[data.train]
use = "jsonl"
path = "pairs.jsonl"
[data.validation]
use = "jsonl"
path = "others.jsonl"
[encoders.query]
use = "hf-text"
prefix = "? "
[encoders.query.config]
model_type = "bert"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
max_position_embeddings = 64
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
[encoders.positive]
like = "query"
[encoders.negatives]
like = "query"
optional = true
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
negatives = "negatives"
pool = "attention"
[losses.search]
use = "matryoshka"
head = "embedding"
dimensions = [16, 8]
[losses.search.inner]
use = "infonce"
head = "embedding"
symmetric = true
learn_temperature = true
[metrics.retrieval]
use = "retrieval"
head = "embedding"
at = [1, 10]
both_ways = true
[trainer]
max_steps = 4
batch_size = 16
learning_rate = 0.01
log_every = 1
save = "steps"
save_every = 2
evaluate = "no"
report_to = []
[backend]
device = "cpu"
"""
WORDS = "sun moon rain snow wind tree leaf root seed fish bird bear wolf king crown sword".split()  # noqa: SIM905
DROPOUT = ("encoders.query.config.hidden_dropout_prob=0.2", "encoders.query.config.attention_probs_dropout_prob=0.2")


def write_rows(path: Path, count: int, seed: int) -> None:
    """A few words are asked for by some of them; every third row has a negative, every fifth two."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for index in range(count):
        words = chance.sample(WORDS, chance.randint(3, 6))
        row: dict[str, Any] = {"id": f"{path.stem}-{index}", "query": " ".join(words[:2]), "positive": " ".join(words)}
        others = [" ".join(chance.sample(WORDS, 3)) + "!" for _ in range((index % 3 == 0) + (index % 5 == 0))]
        rows.append({**row, "negatives": others} if others else row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def pairs(place: Any) -> Any:
    write_rows(place.folder / "pairs.jsonl", 40, 1)
    write_rows(place.folder / "others.jsonl", 12, 2)
    (place.folder / "pairs.toml").write_text(RECIPE)
    return place


def train(place: Any, name: str, *settings: str) -> dict[str, torch.Tensor]:
    words = [word for setting in settings for word in ("--set", setting)]
    place.run("train", "pairs.toml", "--out", name, *words)
    return load_file(place.folder / name / "model" / "model.safetensors")


def test_in_chunks_and_on_two_ranks_the_step_is_the_same(pairs: Any) -> None:
    """By plain gradient descent; the temperature is learned, too."""
    plain = ('trainer.optimizer="sgd"', 'trainer.save="no"', "trainer.max_steps=2")
    wanted = train(pairs, "whole", *plain)
    for name, more in {
        "chunks": ("trainer.micro_batch=3",),
        "tokens": ("trainer.micro_batch=16", "trainer.micro_tokens=200"),
        "ranks": ("trainer.micro_batch=3", 'backend.use="ddp"', "backend.processes=2"),
    }.items():
        found = train(pairs, name, *plain, *more)
        for key, value in found.items():
            torch.testing.assert_close(value, wanted[key], atol=1e-6, rtol=1e-5, msg=f"{name}: {key}")


def test_a_step_in_chunks_goes_on_to_the_same_weights(pairs: Any) -> None:
    """With dropout, from the middle of an epoch."""
    given = (*DROPOUT, "trainer.micro_batch=3")
    wanted = train(pairs, "whole", *given)
    train(pairs, "parts", *given)
    run = Run(pairs.folder / "parts")
    for name in ("model", "checkpoints/checkpoint-4"):
        shutil.rmtree(run.folder / name)
    run.update(status="interrupted")
    pairs.run("train", "--resume", str(run.folder))
    found = load_file(run.folder / "model" / "model.safetensors")
    assert all(torch.equal(value, found[key]) for key, value in wanted.items())


@pytest.mark.parametrize("command", [("train", "--out", "run"), ("check", "--deep")])
def test_what_cannot_be_measured_is_said_before_a_run(pairs: Any, command: tuple[str, ...]) -> None:
    told = pairs.run(*command, "pairs.toml", "--set", "metrics.retrieval.dimensions=[8, 99]", code=2).output
    assert "vectors of `heads.embedding` have 16 channels, and cannot be cut to 99" in told
    assert "[metrics.retrieval]" in told or "metrics.retrieval" in told


def test_it_learns_to_find(pairs: Any) -> None:
    """Twelve documents: chance finds one in ten of its queries' first."""
    train(pairs, "run", "trainer.max_steps=60", "trainer.micro_batch=8", "trainer.learning_rate=0.02")
    result = json.loads(pairs.run("eval", "run", "--json").stdout)["results"]["validation"]
    assert result["retrieval/recall@1"] > 0.5
    assert result["retrieval/reverse/recall@1"] > 0.5
    report = (pairs.folder / "run" / "report.html").read_text()
    assert "recall" in report


def test_a_vision_language_model_embeds_both_sides(tmp_path: Path) -> None:
    """What commands embed, one side at a time, is what the model makes of both in training."""
    image = HfMultimodalEncoder.tiny(tmp_path).resolved()
    text = attrs.evolve(cast("Any", image), medium="text", like="positive", prefix="Q: ", suffix="<")
    encoders = {"positive": image, "query": text}
    head = EmbeddingHead(pool="last").resolved({}.__getitem__).knowing(encoders)
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=Separate(), heads={"both": head}, losses={})).eval()
    rows = []
    for number, (query, colour, size) in enumerate((("what?", "red", (40, 50)), ("what is it, then", "blue", (90, 50)))):
        Image.new("RGB", size, colour).save(tmp_path / f"{colour}.png")
        rows.append(Row({"query": query, "positive": f"{colour}.png"}, str(number), tmp_path, ""))
    data = prepare(Lines(rows), model.parts, labelled=False)
    batch = collator(PadCollator(), model.parts, labelled=False)([data[0], data[1]])
    with torch.no_grad():
        wanted = model(batch["inputs"]).outputs["both"]
    recipe = SimpleNamespace(data={}, trainer=SimpleNamespace(precision="float32"))
    embedder = Embedder(Trained(cast("Any", SimpleNamespace(recipe=recipe)), model))
    for side in ("query", "positive"):
        (found,) = embedder.embed(rows, embedder.reading(side))
        torch.testing.assert_close(found.vectors, wanted[side], atol=1e-6, rtol=1e-5)

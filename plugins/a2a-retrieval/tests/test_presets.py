"""The shipped recipes with small models and a few rows: right, trained, evaluated, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from a2a_cli.main import a2a
from a2a_core.recipe import load_recipe

pytest.importorskip("a2a_hf", reason="the trainer is a2a-hf's")

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "orange", "purple")
SIZES = "hidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 1\nnum_attention_heads = 2\n"
CLIP = f"""
[encoders.image.config]
model_type = "FAMILY_vision_model"
image_size = 8
patch_size = 4
{SIZES}
[encoders.text.config]
model_type = "FAMILY_text_model"
vocab_size = 259
max_position_embeddings = 24
{SIZES}"""
PROJECTED = CLIP.replace("[encoders.text", "projection_dim = 12\n[encoders.text") + "projection_dim = 12\n"
VISION = """
[encoders.query]
layout = "padded"
[encoders.query.config]
model_type = "qwen2_vl"
[encoders.query.config.vision_config]
embed_dim = 16
hidden_size = 16
depth = 1
num_heads = 2
mlp_ratio = 2
patch_size = 4
[encoders.query.config.text_config]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
vocab_size = 300
max_position_embeddings = 4096
[encoders.query.config.text_config.rope_parameters]
rope_type = "default"
rope_theta = 10000.0
mrope_section = [1, 1, 2]
[encoders.query.image_processor.size]
shortest_edge = 64
longest_edge = 256
[encoders.positive.image_processor.size]
shortest_edge = 64
longest_edge = 256
[encoders.negatives.image_processor.size]
shortest_edge = 64
longest_edge = 256
"""
MODELS = {
    "clip": PROJECTED.replace("FAMILY", "clip"),
    "siglip": CLIP.replace("FAMILY", "siglip"),
    "sentence": f'[encoders.query.config]\nmodel_type = "bert"\nvocab_size = 259\nmax_position_embeddings = 128\n{SIZES}',
    "qwen-vl": VISION,
    "colpali": VISION.split("[encoders.negatives")[0],
}
TRAINER = {
    "epochs": 30,
    "max_steps": 0,
    "batch_size": 8,
    "micro_batch": 4,
    "learning_rate": 3e-3,
    "warmup_steps": 0,
    "precision": "float32",
    "log_every": 1,
    "report_to": [],
    "save": "no",
}


def rows(preset: str, folder: Path) -> list[dict[str, Any]]:
    """What the preset wants, of eight colours."""
    for colour in COLOURS:
        Image.new("RGB", (12, 10), colour).save(folder / f"{colour}.png")
    if preset in ("clip", "siglip"):
        return [{"image": f"{colour}.png", "text": f"it is {colour}"} for colour in COLOURS]
    if preset == "sentence":
        pairs = [{"query": f"what is {colour}?", "positive": f"{colour} is a colour"} for colour in COLOURS]
        return [{**pairs[0], "negatives": ["green is no colour", "a red car"]}, *pairs[1:]]
    return [{"query": colour, "positive": f"{colour}.png"} for colour in COLOURS]


def recipe(preset: str, folder: Path) -> Path:
    """The preset with a small model and data."""
    if preset in ("qwen-vl", "colpali"):
        pytest.importorskip("a2a_llm", reason="the encoder is a2a-llm's")
        pytest.importorskip("a2a_peft", reason="low-rank updates are a2a-peft's")
    (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows(preset, folder)))
    split = '[data.validation]\nuse = "jsonl"\npath = "train.jsonl"\n'
    path = folder / "recipe.toml"
    text = f'extends = "a2a-retrieval:{preset}"\n[data.train]\npath = "train.jsonl"\n{split}{MODELS[preset]}'
    path.write_text(text)
    return path


def call(*words: str | Path) -> str:
    result = CliRunner().invoke(a2a, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run of a preset."""
    fewer = {"epochs": 6} if request.param in ("qwen-vl", "colpali") else {}
    settings = [
        word for name, value in {**TRAINER, **fewer}.items() for word in ("--set", f"trainer.{name}={json.dumps(value)}")
    ]
    call("train", recipe(request.param, tmp_path), *settings, "--out", tmp_path / "run")
    return tmp_path / "run"


def losses(run: Path) -> list[float]:
    """Of each step, and at the end the evaluation's."""
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in history if "loss" in row]


@pytest.mark.parametrize("preset", MODELS)
def test_a_preset_wants_models_and_data_alone(preset: str, tmp_path: Path) -> None:
    call("check", recipe(preset, tmp_path))


@pytest.mark.parametrize(("preset", "rank", "projection"), [("qwen-vl", 8, 0), ("colpali", 32, 16 * 128)])
def test_what_is_trained_of_a_vision_language_model(preset: str, rank: int, projection: int, tmp_path: Path) -> None:
    """Low-rank updates of its language model's seven layers, and the projection."""
    found = json.loads(call("check", "--deep", "--json", recipe(preset, tmp_path)))
    trained = {part["path"]: part["trainable"] for part in found["deep"]["parts"]}
    assert trained["encoders.query"] == rank * (4 * (16 + 16) + 3 * (16 + 24))
    assert trained["heads.embedding"] == projection
    assert not found["problems"]


@pytest.mark.parametrize("trained", ["clip", "siglip"], indirect=True)
def test_pictures_find_their_texts(trained: Path, tmp_path: Path) -> None:
    found = losses(trained)
    assert found[-1] < found[0] / 2
    last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["retrieval/recall@1"] > 0.5
    assert "clip" in call("export", trained, "--list")
    call("export", trained, "-o", tmp_path / "clip")
    call("export", trained, "--format", "sentence-transformers", "-o", tmp_path / "sentence")
    assert json.loads((tmp_path / "clip" / "config.json").read_text())["model_type"] in ("clip", "siglip")
    assert (tmp_path / "sentence" / "modules.json").is_file()


@pytest.mark.parametrize("trained", ["sentence"], indirect=True)
def test_questions_find_their_answers(trained: Path, tmp_path: Path) -> None:
    found = losses(trained)
    assert found[-1] < found[0] / 2
    call("export", trained, "-o", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"]


@pytest.mark.parametrize("trained", ["qwen-vl", "colpali"], indirect=True)
def test_a_vision_language_model_learns(trained: Path) -> None:
    found = losses(trained)
    assert found[-1] < found[0]


def test_siglip_takes_nothing_of_the_loss_of_clip(tmp_path: Path) -> None:
    """It extends it."""
    loaded = load_recipe(recipe("siglip", tmp_path), None).recipe
    (loss,) = loaded.losses.values()
    trainer: Any = loaded.trainer
    assert loss.name == "siglip"
    assert (trainer.learning_rate, trainer.weight_decay, trainer.adam_beta2, trainer.batch_size) == (1e-3, 1e-4, 0.95, 32768)


def test_negatives_with_weights_of_their_own_are_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "a", "positive": "b"}\n', "utf-8")
    config = f'config = {{ model_type = "bert", vocab_size = 259, {SIZES.strip().replace(chr(10), ", ")} }}'
    (tmp_path / "recipe.toml").write_text(
        'extends = "a2a-retrieval:sentence"\nwithout = ["encoders.negatives"]\n'
        f'[data.train]\npath = "rows.jsonl"\n[encoders.query]\n{config}\n'
        f'[encoders.others]\nuse = "hf-text"\n{config}\n[heads.embedding]\nnegatives = "others"\n',
        "utf-8",
    )
    found = CliRunner().invoke(a2a, ["check", str(tmp_path / "recipe.toml")])
    assert found.exit_code == 2
    assert "`positive` and `others` have different weights" in found.output
    assert "recipe.toml:10" in found.output, "[heads.embedding]"

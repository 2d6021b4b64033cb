"""A whole multimodal model that says which colours pictures have: trained, checked, asked."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

RECIPE = """
[data.train]
use = "chat"
path = "colours.jsonl"
[fusion]
use = "hf-multimodal"
image_processor = { size = { shortest_edge = 64, longest_edge = 512 } }
[fusion.config]
model_type = "qwen2_5_vl"
[fusion.config.vision_config]
depth = 2
hidden_size = 32
intermediate_size = 64
num_heads = 2
out_hidden_size = 32
patch_size = 4
window_size = 16
fullatt_block_indexes = [1]
[fusion.config.text_config]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
vocab_size = 263
max_position_embeddings = 256
bos_token_id = 0
eos_token_id = 1
rope_parameters = { rope_type = "default", rope_theta = 10000.0, mrope_section = [2, 3, 3] }
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
[[adapters]]
use = "freeze"
match = ["fusion.vision.patch_embed.*"]
[[adapters]]
use = "lora"
part = "fusion.llm"
targets = ["q_proj", "v_proj"]
r = 4
[trainer]
max_steps = 60
batch_size = 4
learning_rate = 0.01
report_to = []
[[trainer.groups]]
match = "fusion.vision.*"
learning_rate = 0.003
[[trainer.groups]]
match = "fusion.merger.*"
[[trainer.groups]]
match = "fusion.llm.*"
[backend]
device = "cpu"
"""
COLOURS = {"red": (220, 20, 20), "blue": (20, 40, 220)}


@pytest.fixture(scope="module")
def colours(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a finished run, `runs/mine`; tests only read it."""
    folder = tmp_path_factory.mktemp("colours")
    generator, rows = np.random.default_rng(0), []
    for index in range(24):
        words = [str(word) for word in generator.choice(list(COLOURS), index % 3)]
        names = [f"{index}-{number}.png" for number in range(len(words))]
        for name, word in zip(names, words, strict=True):
            sides = generator.integers(8, 30, 2)
            Image.new("RGB", (int(sides[0]), int(sides[1])), COLOURS[word]).save(folder / name)
        said = ["<image>" * len(words) + "?", " ".join(words) or "none"]
        turns = [{"role": role, "content": each} for role, each in zip(("user", "assistant"), said, strict=True)]
        rows.append({"id": str(index), "messages": turns, "image": names})
    place = workplace(folder)
    place.write(rows, "colours")
    (folder / "colours.toml").write_text(RECIPE)
    place.run("train", "colours.toml", "--out", "runs/mine")
    return place


def test_pictures_are_told_apart(colours: Any) -> None:
    for name in ("1-0.png", "4-0.png", "7-0.png"):
        with Image.open(colours.folder / name) as picture:
            word = min(COLOURS, key=lambda each: abs(COLOURS[each][0] - picture.getpixel((0, 0))[0]))
        assert colours.run("generate", "mine", "?", "--image", name).stdout == f"{word}\n"


def test_rows_without_a_picture_and_with_several_are_predicted(colours: Any) -> None:
    lines = (colours.folder / "colours.jsonl").read_text().splitlines()[:6]
    rows = [json.loads(line) for line in colours.run("predict", "mine", stdin="\n".join(lines)).stdout.splitlines()]
    for row in rows:
        assert row["predictions"]["answer"].split()[0] == row["messages"][1]["content"].split()[0]


def test_the_deep_check_runs_it_on_no_memory(colours: Any) -> None:
    found = json.loads(colours.run("check", "colours.toml", "--deep", "--json").stdout)["deep"]
    assert not found["notes"]
    assert set(found["groups"]) == {"fusion.vision.*", "fusion.merger.*", "fusion.llm.*"}
    assert found["flops"] > 0

"""What `a2a check --deep` shows, with the real plugins."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result


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
    assert "not installed" not in result.output
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


def test_what_sources_say_of_their_rows_is_shown(folder: Path, deep: Any, run: Callable[..., Result]) -> None:
    rows = [{"text": "good", "labels": [{"label": "glad"}, {"label": "sad"}]}] * 4 + [{"text": "bad", "labels": []}]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ['data.train={use="jsonl",path="train.jsonl",explode="labels"}']
    wanted = "[data.train] 1 of 5 rows of train.jsonl have nothing in `labels` and give no sample"
    assert deep(*sets)["deep"]["row_notes"] == [wanted]
    assert deep()["deep"]["row_notes"] == []
    shown = run("check", "--deep", "recipe.toml", "--set", *sets).output
    assert f"about the rows\n  - {wanted}" in shown


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


@pytest.mark.parametrize(
    "words", [("--samples", "3"), ("--fit", "1GiB"), ("--deep", "--fit", "much"), ("--deep", "--fit", "0")]
)
def test_options_that_make_no_sense_are_refused(folder: Path, run: Callable[..., Result], words: tuple[str, ...]) -> None:
    assert run("check", "recipe.toml", *words).exit_code == 2

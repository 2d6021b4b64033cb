"""Questions about pictures: the data, both stages, and a question asked of what was trained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from a2a_cli.main import a2a

EXAMPLE = Path(__file__).parents[2] / "examples" / "vqa"
PLACES = ("top left", "top right", "bottom left", "bottom right")
LINES = {"top row": (0, 1), "bottom row": (2, 3), "left column": (0, 2), "right column": (1, 3)}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with data for a few steps."""
    folder = tmp_path_factory.mktemp("vqa")
    for name in ("make_data.py", "stage1.toml", "recipe.toml"):
        shutil.copy(EXAMPLE / name, folder)
    command = [sys.executable, str(folder / "make_data.py"), "--pictures", "64"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def trained(example: Path) -> dict[str, str]:
    """Both stages, a few steps each: what each of them said."""
    few = ("trainer.max_steps=4", "trainer.warmup_steps=0", "trainer.report_to=[]", "data.digit.limit=8", "data.sum.limit=8")
    said = {}
    for recipe, stage in (("stage1.toml", "stage1"), ("recipe.toml", "stage2")):
        given = ["train", str(example / recipe), "--out", str(example / "runs" / stage)]
        result = CliRunner().invoke(a2a, [*given, *(word for each in few for word in ("--set", each))])
        assert result.exit_code == 0, result.output
        said[stage] = result.output
    return said


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tiles(folder: Path, row: dict[str, Any]) -> list[bytes]:
    """A picture's four digits."""
    pixels = np.asarray(Image.open(folder / "data" / row["image"]))
    return [pixels[top : top + 8, left : left + 8].tobytes() for top in (0, 8) for left in (0, 8)]


def test_answers_are_right(example: Path) -> None:
    """Those of every row, by the label of the digit that stands in that place of the picture."""
    images, labels = load_digits(return_X_y=True)
    known = {
        (image.reshape(8, 8) * 15.9375).astype(np.uint8).tobytes(): label for image, label in zip(images, labels, strict=True)
    }
    for split, count in (("train", 64), ("digit", 300), ("sum", 300)):
        found = rows(example / "data" / f"{split}.jsonl")
        assert len(found) == count
        for row in found:
            digits = [int(known[tile]) for tile in tiles(example, row)]
            said = [each["content"].removeprefix("<image>") for each in row["messages"]]
            for question, answer in zip(said[::2], said[1::2], strict=True):
                kind, line = re.fullmatch(r"what is the (digit at|sum of) the (.*)\?", question).groups()  # type: ignore[union-attr]
                right = digits[PLACES.index(line)] if kind == "digit at" else sum(digits[each] for each in LINES[line])
                assert answer == str(right)


def test_no_digit_is_both_trained_on_and_judged(example: Path) -> None:
    of = {
        split: {tile for row in rows(example / "data" / f"{split}.jsonl") for tile in tiles(example, row)}
        for split in ("train", "digit", "sum")
    }
    assert not of["train"] & (of["digit"] | of["sum"])


def test_each_stage_trains_what_it_says(trained: dict[str, str]) -> None:
    """The first the projector alone."""
    projector = 64 * 128 + 128 + 128 * 128 + 128
    assert f"training {projector:,} of " in trained["stage1"]
    assert "training all " in trained["stage2"]


@pytest.mark.usefixtures("trained")
def test_the_second_stage_begins_where_the_first_ended(example: Path) -> None:
    """Four steps of 1e-3 lead nowhere far; weights drawn anew would lie a tenth apart."""
    first, second = (load_file(example / "runs" / stage / "model" / "model.safetensors") for stage in ("stage1", "stage2"))
    assert first.keys() == second.keys()
    apart = [float((first[name] - second[name]).abs().max()) for name in first]
    assert 1e-3 < max(apart) < 0.02


@pytest.mark.usefixtures("trained")
def test_a_question_is_answered(example: Path) -> None:
    picture = str(example / "data" / "images" / "held-000.png")
    asked = [str(example / "runs" / "stage2"), "what is the digit at the top left?", "--image", picture]
    result = CliRunner().invoke(a2a, ["generate", *asked, "--max-new-tokens", "4"])
    assert result.exit_code == 0, result.output
    assert "<|im_" not in result.output

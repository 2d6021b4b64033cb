"""Conversations about pictures, sounds and videos, all kinds in one batch, and about pictures in several turns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a
from a2a_core.data import collator, prepare
from a2a_core.job import resolve
from a2a_core.recipe import load_recipe

EXAMPLE = Path(__file__).parents[2] / "examples" / "conversations"
DATA = EXAMPLE.parents[2] / "shared" / "data"


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"the data set {name} is not beside the repository")


def losses(recipe: str, out: Path, *settings: str) -> list[float]:
    """Of training, step by step; no row may be set aside."""
    given = ("trainer.report_to=[]", "trainer.log_every=1", "trainer.warmup_steps=0", *settings)
    words = [word for each in given for word in ("--set", each)]
    result = CliRunner().invoke(a2a, ["train", str(EXAMPLE / recipe), "--out", str(out), *words])
    assert result.exit_code == 0, result.output
    assert not (out / "quarantine.jsonl").exists()
    return [row["loss"] for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if "grad_norm" in row]


@needs("mllm_demo")
def test_every_kind_of_medium_stands_in_one_batch() -> None:
    """Seven pictures in five rows, four sounds in four, four videos in four, two of these rows with both."""
    recipe = load_recipe(EXAMPLE / "recipe.toml", None, for_run=True).recipe
    rows = recipe.data["train"].build()
    parts = resolve(recipe, rows)
    samples = prepare(rows, parts)
    batch = collator(recipe.collator, parts)([samples[index] for index in range(len(samples))])
    found = {key: batch["inputs"][key]["row"].tolist() for key in ("image", "audio", "video")}
    assert found == {"image": [0, 0, 1, 2, 3, 3, 4], "audio": [5, 6, 9, 10], "video": [7, 8, 9, 10]}


@needs("mllm_demo")
def test_a_mixed_batch_is_learned(tmp_path: Path) -> None:
    """Bytes begin at ln 259 = 5.6 nats."""
    found = losses("recipe.toml", tmp_path / "run", "trainer.epochs=5", "data.validation.limit=1")
    assert len(found) == 5
    assert found[-1] < 4.5 < found[0]


@needs("owleval_mini")
def test_turns_are_learned(tmp_path: Path) -> None:
    found = losses(
        "recipe_owleval.toml", tmp_path / "run", "trainer.max_steps=5", "trainer.batch_size=3", "data.validation.limit=1"
    )
    assert found[-1] < 4.5 < found[0]

"""The recipes of examples/ are right, and those on real data learn, wherever that data is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner

from a2a_cli.main import a2a

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES.parents[1] / "shared" / "data"
RECIPES = sorted(EXAMPLES.glob("*/recipe.toml"))


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"the data set {name} is not beside the repository")


def accuracy(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> float:
    """Of the last evaluation of a run in `folder`."""
    monkeypatch.chdir(folder)
    settings = [word for option in ("trainer.report_to=[]", *options) for word in ("--set", option)]
    result = CliRunner().invoke(a2a, ["train", str(EXAMPLES / name / "recipe.toml"), *settings])
    assert result.exit_code == 0, result.output
    (history,) = folder.glob("runs/*/metrics.jsonl")
    return [row["accuracy"] for row in map(json.loads, history.read_text().splitlines()) if "accuracy" in row][-1]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_is_right(recipe: Path) -> None:
    """But for its data, which may have to be made first, or lie elsewhere."""
    if (recipe.parent / "make_tokenizer.py").exists() and not (recipe.parent / "data").exists():
        pytest.skip("its tokenizer is not made yet")
    table = tomli.loads(recipe.read_text())
    if "init_from" in table:
        pytest.skip("it goes on from the run of another recipe, in a test of its own")
    splits = table["data"]
    elsewhere = [word for split in splits for word in ("--set", f"data.{split}.path={__file__}")]
    result = CliRunner().invoke(a2a, ["check", str(recipe), *elsewhere])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.parent.name)
def test_every_example_says_how_to_run_it(recipe: Path) -> None:
    text = (recipe.parent / "README.md").read_text()
    assert "a2a train recipe.toml" in text
    if len(tomli.loads(recipe.read_text()).get("encoders", ())) > 1:
        assert "--without encoders." in text


def test_digits_with_the_data_that_its_script_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of its epochs; the whole run is `nox -s train`."""
    script = EXAMPLES / "digits" / "make_data.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path / "data")], check=True, capture_output=True)
    paths = [f"data.{name}.path={tmp_path}/data/{name}.jsonl" for name in ("train", "validation", "test")]
    assert accuracy("digits", tmp_path, monkeypatch, "trainer.epochs=3", 'trainer.save="no"', *paths) > 0.6


@needs("digits_image_audio")
def test_digits_with_real_speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of its epochs; one answer for all is right in a tenth."""
    assert accuracy("digits_speech", tmp_path, monkeypatch, "trainer.epochs=6", 'trainer.evaluate="no"') > 0.5


@needs("ravdess_mini")
def test_emotion_from_voice_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice what one answer for all gets."""
    assert accuracy("emotion", tmp_path, monkeypatch, "trainer.epochs=25") >= 0.25

"""Segments of videos, pictures and sound cut alike, from which falls are told in a room that was never seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a
from a2a_core.data import prepare
from a2a_core.job import resolve
from a2a_core.recipe import load_recipe

EXAMPLE = Path(__file__).parents[2] / "examples" / "activity"
DATA = EXAMPLE.parents[2] / "shared" / "data" / "fall_video"


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set fall_video is not beside the repository")
def test_falls_are_told_from_the_rest(tmp_path: Path) -> None:
    """By pictures, in a quarter of its epochs; no fall at all, the most frequent answer, is right in 6 of 9."""
    settings = ["--set", "trainer.epochs=10", "--set", "trainer.report_to=[]", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(a2a, ["train", str(EXAMPLE / "recipe.toml"), "--without", "encoders.audio", *settings])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "run" / "quarantine.jsonl").exists()
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    falls = [name.startswith("Fall") for name in last["confusion/classes"]]
    right = sum(
        count
        for label, row in zip(falls, last["confusion"], strict=True)
        for answer, count in zip(falls, row, strict=True)
        if label == answer
    )
    assert sum(map(sum, last["confusion"])) == 9
    assert right >= 7


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set fall_video is not beside the repository")
def test_pictures_and_sound_are_cut_alike() -> None:
    """Both modalities of every segment, exploded: a token for 0.2 s of pictures and for 40 ms of sound."""
    recipe = load_recipe(EXAMPLE / "recipe.toml", None, for_run=True).recipe
    rows = recipe.data["validation"].build()
    samples = prepare(rows, resolve(recipe, rows))
    assert len(samples) == 9
    for index in range(9):
        sample = samples[index]
        seconds = rows[index].fields["end"] - rows[index].fields["start"]
        (video,), (audio,) = sample.items["video"], sample.items["audio"]
        assert abs(video.length - 5 * seconds) <= 1
        assert abs(audio.length - 25 * seconds) <= 2

"""Photos on which a small convolutional encoder and a thumbnail learn more than the most frequent answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a

EXAMPLE = Path(__file__).parents[2] / "examples" / "subjects"
DATA = EXAMPLE.parents[2] / "shared" / "data" / "subject_photos"


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set subject_photos is not beside the repository")
def test_subjects_are_told_apart(tmp_path: Path) -> None:
    """A third of its epochs; one answer for all is right in 4 of 20."""
    settings = ["--set", "trainer.epochs=20", "--set", "trainer.report_to=[]", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(a2a, ["train", str(EXAMPLE / "recipe.toml"), *settings])
    assert result.exit_code == 0, result.output
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["accuracy"] >= 0.4

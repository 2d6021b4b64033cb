"""`a2a eval` of a run that finds texts by pictures: what it prints, and the report that it writes."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from a2a_cli.main import a2a

RECIPE = """
[data.train]
use = "jsonl"
path = "rows.jsonl"
[data.validation]
use = "jsonl"
path = "rows.jsonl"
[encoders.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
[encoders.text]
use = "embedding"
width = 8
num_heads = 2
layers = 1
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
query = "image"
positive = "text"
[losses.infonce]
use = "infonce"
head = "embedding"
[metrics.retrieval]
use = "retrieval"
head = "embedding"
at = [1, 5]
both_ways = true
[trainer]
max_steps = 3
batch_size = 4
micro_batch = 4
log_every = 1
report_to = []
[backend]
device = "cpu"
"""
ILL = "<script>alert(1)</script> & more"


def run(folder: Path, *words: str, code: int = 0) -> Result:
    before = Path.cwd()
    os.chdir(folder)
    try:
        result = CliRunner().invoke(a2a, words, catch_exceptions=False)
    finally:
        os.chdir(before)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    for number in range(8):
        pixels = np.full((8, 8, 3), 30 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture {number}.png")
    texts = [ILL if number == 3 else f"level {number}" for number in range(8)]
    rows = [{"image": f"picture {number}.png", "text": text} for number, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE)
    run(folder, "train", "recipe.toml", "--out", "run")
    return folder


def test_a_report_is_written_into_the_run_and_its_place_printed(trained: Path) -> None:
    result = run(trained, "eval", "run")
    assert "retrieval/reverse/recall@5" in result.output
    assert result.output.splitlines()[-1].split() == ["report", "run/report.html"]

    page = (trained / "run" / "report.html").read_text()

    assert "The best queries" in page
    assert "The worst documents" in page
    assert page.count("data:image/jpeg;base64,") >= 8
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert 'aria-label="loss"' in page
    markdown = (trained / "run" / "report.md").read_text()
    assert "picture%203.png" in markdown
    assert "&lt;script&gt;" in markdown


def test_a_report_can_go_elsewhere_and_json_says_where(trained: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(run(trained, "eval", "run", "-o", str(tmp_path / "deep" / "er"), "--json").stdout)
    assert found["report"] == str(tmp_path / "deep" / "er" / "report.html")
    assert (tmp_path / "deep" / "er" / "report.md").is_file()
    assert set(found) == {"run", "results", "report"}
    assert 0 <= found["results"]["validation"]["retrieval"] <= 1


def test_a_report_that_cannot_be_written_is_a_message(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in run(trained, "eval", "run", "-o", str(tmp_path / "file"), code=2).output


def test_rows_of_which_nothing_can_be_measured_are_a_message(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "others.jsonl").write_text('{"photo": "a.png"}\n{"photo": "b.png"}\n')
    found = run(trained, "eval", "run", "--data", str(tmp_path / "others.jsonl"), "-o", str(tmp_path / "er"), code=2)
    assert "none of its 2 rows is labelled, and can be read" in found.output
    assert "the run reads `image`, `text`" in found.output
    assert not (tmp_path / "er").exists()

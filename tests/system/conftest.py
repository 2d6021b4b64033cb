"""A tiny data set of real files, a recipe for it, and the whole of a2a with every first-party plugin."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from a2a_cli.main import a2a

RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[data.validation]
use = "jsonl"
path = "validation.jsonl"
[encoders.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
dropout = 0.0
[encoders.sound]
use = "log-mel"
width = 8
num_heads = 2
layers = 1
sample_rate = 8000
dropout = 0.0
[fusion]
use = "bottleneck"
width = 8
num_heads = 2
layers = 2
dropout = 0.0
[heads.shape]
use = "classify"
[losses.shape]
use = "cross-entropy"
head = "shape"
[metrics.accuracy]
use = "accuracy"
head = "shape"
[trainer]
epochs = 2
batch_size = 8
learning_rate = 0.01
log_every = 1
report_to = []
[backend]
device = "cpu"
"""
CLASSES = ("dark", "light")


def make_rows(folder: Path, name: str, count: int) -> None:
    """Dark pictures with low tones, light ones with high tones; now and then one of the two is missing."""
    generator = np.random.default_rng(len(name))
    rows = []
    for index in range(count):
        label = CLASSES[index % 2]
        level = 60 if label == "dark" else 190
        pixels = generator.integers(level - 50, level + 50, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}{index}.png")
        tone = np.sin(np.arange(800) * (0.3 if label == "dark" else 1.2)) * 0.4
        soundfile.write(folder / f"{name}{index}.wav", tone + generator.normal(0, 0.05, 800), 8000)
        row = {"id": f"{name}-{index}", "image": f"{name}{index}.png", "sound": f"{name}{index}.wav", "label": label}
        if index % 5 == 0:
            row["sound"] = None
        if index % 5 == 3:
            del row["image"]
        rows.append(row)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Workplace:
    """A folder with data and a recipe; `run` is the command line in this process, `shell` a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = folder / "recipe.toml"

    def run(self, *words: str, code: int | None = 0, stdin: str | None = None) -> Result:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            result = CliRunner().invoke(a2a, words, input=stdin, catch_exceptions=False)
        finally:
            os.chdir(before)
        assert code is None or result.exit_code == code, result.output
        return result

    def shell(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "a2a_cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def in_turn(self, *trainings: Sequence[str], ranks: int = 2, seconds: float = 600) -> None:
        """Each training of `a2a train` on so many ranks, one after another in the same processes; none may hang."""
        plan = self.folder / "plan.json"
        plan.write_text(json.dumps([(free_port(), ["train", *words]) for words in trainings]))
        command = [sys.executable, str(Path(__file__).with_name("in_turn.py")), str(plan)]
        given = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost"}
        logs = [self.folder / f"rank-{rank}.log" for rank in range(ranks)]
        started = []
        for rank, log in enumerate(logs):
            env = {**given, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
            with log.open("wb") as file:
                started.append(subprocess.Popen(command, cwd=self.folder, env=env, stdout=file, stderr=subprocess.STDOUT))
        try:
            codes = [process.wait(seconds) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        assert codes == [0] * ranks, "\n".join(log.read_text() for log in logs)

    def history(self, name: str, split: str | None = "train") -> list[dict[str, Any]]:
        """What a run recorded of its training, of the evaluations of a split, or of everything."""
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if split in (None, record["split"])]

    def rows(self, name: str = "train") -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / f"{name}.jsonl").read_text().splitlines()]

    def write(self, rows: Sequence[dict[str, object]], name: str = "train") -> None:
        (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def replace(self, old: str, new: str) -> None:
        text = self.recipe.read_text()
        assert old in text, old
        self.recipe.write_text(text.replace(old, new, 1))


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def workplace() -> type[Workplace]:
    """For tests with data of their own."""
    return Workplace


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_rows(folder, "train", 24)
    make_rows(folder, "validation", 10)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture
def place(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    folder = tmp_path / "place"
    folder.mkdir()
    for path in files.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name in list(os.environ):
        if name.startswith("A2A__"):
            monkeypatch.delenv(name)
    return Workplace(folder)


@pytest.fixture(scope="session")
def trained(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A folder with a finished run, `runs/mine`; tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    for path in files.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    place = Workplace(folder)
    place.run(
        "train", "recipe.toml", "--out", "runs/mine", "--set", "trainer.epochs=6", "--set", 'trainer.report_to=["tensorboard"]'
    )
    return place

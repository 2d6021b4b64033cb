"""What only the order of values in time can tell, learned through a recipe and the command line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from a2a_cli.main import a2a

for needed in ("a2a_data", "a2a_fusion", "a2a_classification", "a2a_hf", "a2a_accelerate"):
    pytest.importorskip(needed, reason=f"a recipe needs {needed}")

CLASSES = {"slow": 0.05, "middle": 0.11, "fast": 0.23}
"""Turns a second."""
RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[data.validation]
use = "jsonl"
path = "validation.jsonl"
[encoders.sensor]
use = "series"
READS
channels = ["x", "y"]
width = 16
layers = 1
num_heads = 2
dropout = 0.0
[fusion]
use = "concat"
[heads.speed]
use = "classify"
[losses.speed]
use = "cross-entropy"
head = "speed"
[metrics.accuracy]
use = "accuracy"
head = "speed"
[trainer]
epochs = 6
batch_size = 16
learning_rate = 0.01
report_to = []
[backend]
device = "cpu"
"""


def swinging(random, speed):
    """A wave and its shadow in noise, of any height, level and phase, at 50 to 80 irregular moments, some values missing."""
    times = np.cumsum(random.exponential(1.0, random.integers(50, 80)))
    angles = 2 * np.pi * (CLASSES[speed] * times + random.random())
    values = np.stack([np.sin(angles), np.cos(angles)], 1) + random.normal(0, 0.1, (len(times), 2))
    values = values * random.uniform(0.5, 5) + random.normal(0, 3, 2)
    values[random.random(values.shape) < 0.2] = np.nan
    return times, values


def rows(seed, count):
    random = np.random.default_rng(seed)
    for index in range(count):
        label = list(CLASSES)[index % 3]
        yield label, *swinging(random, label)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def trained(folder, recipe):
    (folder / "recipe.toml").write_text(recipe)
    result = CliRunner().invoke(a2a, ["train", "recipe.toml", "--out", "run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "run" / "run.json").read_text())["results"]["validation"]["accuracy"]


def moments(values):
    """What a model sees that does not know of time."""
    return np.concatenate([np.nanmean(values, 0), np.nanstd(values, 0), [len(values)]])


def test_speeds_at_irregular_moments_out_of_rows(place):
    baseline = {}
    for name, seed, count in (("train", 0, 180), ("validation", 1, 60)):
        made = list(rows(seed, count))
        lines = [
            {
                "label": label,
                "sensor": {
                    "time": times.tolist(),
                    "values": [[None if np.isnan(v) else v for v in row] for row in values.tolist()],
                },
            }
            for label, times, values in made
        ]
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        baseline[name] = np.array([moments(values) for _, _, values in made]), [label for label, _, _ in made]
    timeless = LogisticRegression(max_iter=1000).fit(*baseline["train"]).score(*baseline["validation"])
    accuracy = trained(place, RECIPE.replace("READS", 'reads = "value"'))
    assert timeless < 0.6
    assert accuracy > 0.85


def test_segments_of_a_file(place):
    """One long recording in a file, whose speed changes every 60 seconds: rows name the file and the seconds."""
    for name, seed, count in (("train", 2, 180), ("validation", 3, 60)):
        random, labels = np.random.default_rng(seed), [list(CLASSES)[index % 3] for index in range(count)]
        parts = []
        for index, label in enumerate(labels):
            times, values = swinging(random, label)
            parts.append(np.column_stack([60 * index + times, values])[times < 60])
        recording = np.concatenate([[[0, 0, 0]], *parts])  # the first timestamp is where seconds start
        fields = np.dtype([("time", "f8"), ("x", "f4"), ("y", "f4")])
        np.save(place / f"{name}.npy", np.array([tuple(row) for row in recording], fields))
        lines = [
            {"label": label, "sensor": f"{name}.npy", "start": 60 * index, "end": 60 * index + 60}
            for index, label in enumerate(labels)
        ]
        lines[-1]["end"] = None
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert trained(place, RECIPE.replace("READS", "")) > 0.85

"""Surfaces, told apart by their points through a recipe and the command line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from a2a_cli.main import a2a

for needed in ("a2a_data", "a2a_fusion", "a2a_classification", "a2a_hf", "a2a_accelerate"):
    pytest.importorskip(needed, reason=f"a recipe needs {needed}")

CLASSES = ("sphere", "cube", "plane")
RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[data.validation]
use = "jsonl"
path = "validation.jsonl"
[encoders.scan]
use = "pointnet"
hidden_sizes = [16, 32]
width = 32
OPTIONS
[fusion]
use = "concat"
[heads.shape]
use = "classify"
[losses.shape]
use = "cross-entropy"
head = "shape"
[metrics.accuracy]
use = "accuracy"
head = "shape"
[trainer]
epochs = 8
batch_size = 16
learning_rate = 0.002
report_to = []
[backend]
device = "cpu"
"""


def surface(random, shape, turned):
    """40 to 120 points of a surface in noise, scaled and moved anyhow, and turned."""
    count = random.integers(40, 120)
    points = random.uniform(-1, 1, (count, 3))
    if shape == "sphere":
        points = random.normal(size=(count, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    elif shape == "cube":
        points[np.arange(count), random.integers(0, 3, count)] = random.choice([-1, 1], count)
    else:
        points[:, 2] = 0
    if turned:
        points = points @ np.linalg.qr(random.normal(size=(3, 3)))[0]
    points = points + random.normal(0, 0.02, (count, 3))
    return points * random.uniform(0.1, 100) + random.normal(0, 50, 3)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def save_ply(path, points):
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    head += "property double x\nproperty double y\nproperty double z\nend_header\n"
    path.write_bytes(head.encode() + points.astype("<f8").tobytes())


def save_npy(path, points):
    np.save(path, points)


@pytest.mark.parametrize(
    ("options", "turned", "save"),
    [
        ('reads = "value"', True, None),
        ("tokens = 16\ngroup_size = 16\nlayers = 1\nnum_heads = 2\ndropout = 0.0", False, {".ply": save_ply, ".npy": save_npy}),
    ],
    ids=["values", "groups-of-files"],
)
def test_surfaces(place, options, turned, save):
    for name, seed, count in (("train", 0, 180), ("validation", 1, 60)):
        random, lines = np.random.default_rng(seed), []
        for index in range(count):
            label = CLASSES[index % 3]
            points = surface(random, label, turned)
            scan = points.tolist()
            if save:
                scan = f"{name}{index}{list(save)[index // 3 % 2]}"
                save[scan[-4:]](place / scan, points)
            lines.append(json.dumps({"label": label, "scan": scan}))
        (place / f"{name}.jsonl").write_text("\n".join(lines))
    (place / "recipe.toml").write_text(RECIPE.replace("OPTIONS", options))
    result = CliRunner().invoke(a2a, ["train", "recipe.toml", "--out", "run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((place / "run" / "run.json").read_text())["results"]["validation"]["accuracy"]
    assert found > 0.8

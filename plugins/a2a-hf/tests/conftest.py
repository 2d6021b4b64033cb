import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(HERE))  # for what tests share, `toy_runs`

RECIPE = """
seed = 3
[data.train]
use = "toy"
[data.validation]
use = "toy"
count = 7
[encoders.left]
use = "reference"
[encoders.right]
use = "reference"
width = 8
[fusion]
use = "reference"
[heads.number]
use = "reference"
[losses.fit]
use = "squared"
head = "number"
[metrics.error]
use = "error"
head = "number"
[trainer]
use = "hf"
epochs = 2
batch_size = 8
learning_rate = 0.01
log_every = 1
report_to = []
[backend]
use = "BACKEND"
device = "cpu"
"""


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose dist-info offers the toy plugin."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "a2a_toy-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a2a-toy\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[a2a.plugins]\ntoy = toy\n")
    (folder / "toy.py").write_text((HERE / "toy.py").read_text())
    (folder / "backend.py").write_text((HERE / "backend.py").read_text())
    (info / "entry_points.txt").write_text("[a2a.plugins]\ntoy = toy\ntoy-backend = backend\n")
    return folder


@pytest.fixture
def recipe(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write the toy recipe with some lines replaced; the toy plugin is there for this test alone."""
    monkeypatch.syspath_prepend(str(toy))

    def write(*replaced: tuple[str, str], more: str = "") -> Path:
        text = RECIPE.replace("BACKEND", "here")
        for old, new in replaced:
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path / "recipe.toml"
        path.write_text(text + more)
        return path

    return write


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module `cached_step`."""
    monkeypatch.syspath_prepend(str(HERE))
    import cached_step

    return cached_step

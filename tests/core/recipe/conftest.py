"""Fake plugins that offer one component a kind, with every type that an option can have."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from a2a_core.errors import A2AError
from a2a_core.plugins import Catalog
from a2a_core.recipe import Loaded, load_recipe

PARTS = '''
"""Components without substance."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any, Literal

from a2a_core import *
from a2a_core.options import Location, Options


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Crop(Options):
    """A crop."""

    size: int = option("pixels", gt=0)
    centre: bool = option("from the centre", default=True)


class Rows(SourceConfig):
    """Rows of nothing."""

    name = "rows"
    path: Path = option("where they lie", exists=True)
    more: tuple[Path, ...] = option("others", default=(), exists=True)
    urls: Location | list[Location] = option("elsewhere", default=[])

    def build(self): ...


class Patch(EncoderConfig):
    """Pictures to tokens."""

    name = "patch"
    modality = "image"
    width: int = option("channels", default=192, gt=0)
    heads: int = option("attention heads; divides width", default=3, gt=0)
    dropout: float = option("share of zeros", default=0.1, ge=0, lt=1)
    mean: tuple[float, ...] = option("means", default=(0.5, 0.5), ge=0)
    size: tuple[int, int] = option("height and width", default=(8, 8), gt=0)
    names: list[str] = option("names", default=[])
    mode: Mode = option("a mode", default=Mode.FAST)
    pool: Literal["cls", "mean", 2] = option("pooling", default="mean")
    layer: int | str | None = option("a layer", default=None)
    crop: Crop | None = option("a crop", default=None)
    steps: int | tuple[int, ...] = option("steps", default=1)
    weights: dict[str, float] = option("weights", default={}, ge=0)
    config: dict[str, Any] = option("a model's config", default={})
    path: Path | None = option("a saved model", default=None, exists=True)

    def check(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")

    def processor(self): ...
    def build(self): ...


class Linear(ProjectorConfig):
    """A layer."""

    name = "linear2"

    def build(self, width, out): ...


class Concat(FusionConfig):
    """Side by side."""

    name = "concat"

    def build(self, widths): ...


class Classify(HeadConfig):
    """Classes."""

    name = "classify"
    classes: tuple[str, ...] = option("class names", default=())

    def build(self, spec): ...


class CrossEntropy(LossConfig):
    """Cross entropy."""

    name = "cross-entropy"
    smoothing: float = option("label smoothing", default=0.0, ge=0, le=1)

    def build(self, head): ...


class Twice(LossConfig):
    """Another loss, twice."""

    name = "twice"
    inner: LossConfig = option("what is doubled")

    def build(self, head): ...


class Accuracy(MetricConfig):
    """Share of hits."""

    name = "accuracy"
    others: tuple[str, ...] = option("heads to leave out", default=(), refers_to="heads")

    def build(self, head): ...


class Freeze(AdapterConfig):
    """Freezes."""

    name = "freeze"
    match: tuple[str, ...] = option("patterns", default=("*",))

    def apply(self, model): ...


class Hf(TrainerConfig):
    """A trainer."""

    name = "hf"
    epochs: float = option("passes over the data", default=3.0, gt=0)
    groups: tuple[Crop, ...] = option("groups", default=())
    inner_key: str = option("with an underscore", default="")

    def build(self, job): ...


class Single(BackendConfig):
    """One process."""

    name = "single"


class Noisy(CallbackConfig):
    """Makes noise."""

    name = "noisy"

    def build(self, job): ...
'''
HOOKS = {
    "a2a_sources": {"rows": "Rows"},
    "a2a_encoders": {"patch": "Patch"},
    "a2a_projectors": {"linear2": "Linear"},
    "a2a_fusions": {"concat": "Concat"},
    "a2a_heads": {"classify": "Classify"},
    "a2a_losses": {"cross-entropy": "CrossEntropy", "twice": "Twice"},
    "a2a_metrics": {"accuracy": "Accuracy"},
    "a2a_adapters": {"freeze": "Freeze"},
    "a2a_trainers": {"hf": "Hf"},
    "a2a_backends": {"single": "Single"},
    "a2a_callbacks": {"noisy": "Noisy"},
}
WHOLE = """
seed = 7

[data.train]
use = "rows"
path = "train.jsonl"

[encoders.image]
use = "patch"
width = 96

[fusion]
use = "concat"

[heads.label]
use = "classify"

[losses.ce]
use = "cross-entropy"
head = "label"

[metrics.accuracy]
use = "accuracy"
head = "label"
"""


@pytest.fixture
def acme(make_plugin) -> Catalog:
    """The fake plugins alone, in a catalog."""
    make_plugin(
        "acme-parts",
        {hook: {name: f"acme_parts.parts:{cls}" for name, cls in offers.items()} for hook, offers in HOOKS.items()},
        parts=PARTS,
    )
    make_plugin.alone()
    return Catalog.installed()


class Write(Protocol):
    def __call__(self, text: str, name: str = "recipe.toml") -> Path: ...


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a recipe into a folder that is the working one, with `train.jsonl` beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "train.jsonl").write_text("{}\n")
    monkeypatch.chdir(folder)

    def written(text: str, name: str = "recipe.toml") -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.fixture
def load(acme: Catalog, write: Write) -> Callable[..., Loaded]:
    """Load a recipe's text."""

    def loaded(text: str, sets: Sequence[str] = (), without: Sequence[str] = (), **options) -> Loaded:
        options = {"environ": {}} | options
        return load_recipe(write(text), acme, sets, without, **options)

    return loaded


@pytest.fixture
def problems(load) -> Callable[..., list[str]]:
    """What is wrong with a recipe: `line: message | hint`."""

    def found(text: str, *given, **options) -> list[str]:
        with pytest.raises(A2AError) as caught:
            load(text, *given, **options)
        return [
            f"{each.origin.line if each.origin else '-'}: {each.message}" + (f" | {each.hint}" if each.hint else "")
            for each in caught.value.problems
        ]

    return found


@pytest.fixture
def whole() -> str:
    """A recipe that has everything a run needs."""
    return WHOLE

"""A plugin with a part of every kind that a recipe needs, and a recipe of them; nothing else is installed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from a2a_cli.main import a2a

PARTS = '''
from a2a_core import (
    AdapterConfig, BackendConfig, CallbackConfig, EncoderConfig, FusionConfig, HeadConfig, LossConfig, MetricConfig,
    SourceConfig, TrainerConfig, option
)

class Part:
    def build(self, *_):
        raise NotImplementedError

class Lines(Part, SourceConfig):
    """Lines of a file."""
    name = "lines"
    path: str = option("the file")

class Eye(Part, EncoderConfig):
    """Pictures to tokens."""
    name = "eye"
    modality = "image"
    width: int = option("channels of a token", default=64, gt=0)
    layers: tuple[int, ...] = option("channels of each layer", default=(8, 16))
    def processor(self):
        raise NotImplementedError

class Ear(Eye):
    """Sounds to tokens."""
    name = "ear"

class Join(Part, FusionConfig):
    """Side by side."""
    name = "join"

class Guess(Part, HeadConfig):
    """One of several."""
    name = "guess"

class Miss(Part, LossConfig):
    """How wrong."""
    name = "miss"

class Hits(Part, MetricConfig):
    """How often right."""
    name = "hits"

class Errors(Hits):
    """How often wrong."""
    name = "errors"
    higher_is_better = False

class Walk(Part, TrainerConfig):
    """Step by step."""
    name = "hf"
    epochs: int = option("passes over the rows", default=1, gt=0)
    learning_rate: float = option("step size", default=0.001, gt=0)
    best: str = option("the metric that counts", default="")

class Graft(AdapterConfig):
    """Something added."""
    name = "graft"
    def apply(self, model):
        raise NotImplementedError

class Watch(Part, CallbackConfig):
    """Looks on."""
    name = "watch"

class Here(Part, BackendConfig):
    """In this process."""
    name = "single"
'''
OFFERS = {
    "a2a_sources": ["lines:Lines"],
    "a2a_encoders": ["eye:Eye", "ear:Ear"],
    "a2a_fusions": ["join:Join"],
    "a2a_heads": ["guess:Guess"],
    "a2a_losses": ["miss:Miss"],
    "a2a_metrics": ["hits:Hits", "errors:Errors"],
    "a2a_adapters": ["graft:Graft"],
    "a2a_callbacks": ["watch:Watch"],
    "a2a_trainers": ["hf:Walk"],
    "a2a_backends": ["single:Here"],
}
RECIPE = """\
[data.train]
use = "lines"
path = "train.txt"

[encoders.picture]
use = "eye"
width = 32

[fusion]
use = "join"

[heads.digit]
use = "guess"

[losses.digit]
use = "miss"
head = "digit"

[metrics.hits]
use = "hits"
head = "digit"
"""


def offers(package: str) -> dict[str, dict[str, str]]:
    """The hooks of a package with these parts."""
    split = {hook: [each.split(":") for each in every] for hook, every in OFFERS.items()}
    return {hook: {name: f"{package}.parts:{cls}" for name, cls in every} for hook, every in split.items()}


@pytest.fixture
def acme(make_plugin, monkeypatch: pytest.MonkeyPatch):
    """`acme-parts` 0.1.0 is installed, alone, for subprocesses too."""
    make_plugin.alone()
    make_plugin("acme-parts", offers("acme_parts"), parts=PARTS)
    monkeypatch.setenv("PYTHONPATH", str(make_plugin.folder))
    return make_plugin


@pytest.fixture
def recipe(acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good recipe, `recipe.toml` in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("recipe.toml")
    path.write_text(RECIPE)
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    """`a2a` with these arguments."""
    return lambda *arguments, **keywords: CliRunner().invoke(
        a2a, [str(each) for each in arguments], prog_name="a2a", **keywords
    )

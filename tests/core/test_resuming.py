from pathlib import Path
from typing import Any

import pytest

from a2a_core import RunFailed, manifest
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.resuming import adopt, changed, changes, checkpoint, undo
from a2a_core.runs import Run

PARTS = '''
from a2a_core import EncoderConfig, FusionConfig, HeadConfig, LossConfig, MetricConfig, Options, SourceConfig, TrainerConfig, option

class Part:
    def build(self, *_):
        raise NotImplementedError

class Lines(Part, SourceConfig):
    """Lines of a file."""
    name = "lines"
    may_change = frozenset({"path"})
    path: str = option("the file")
    header: bool = option("the first one is none", default=False)

class Eye(Part, EncoderConfig):
    """Pictures to tokens."""
    name = "eye"
    modality = "image"
    width: int = option("channels", default=8)
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

class Group(Options):
    rate: float = option("step size", default=0.1)

class Walk(Part, TrainerConfig):
    """Step by step."""
    name = "walk"
    may_change = frozenset({"epochs", "groups"})
    must_stay = {"size": "steps are counted in it"}
    epochs: int = option("passes", default=1)
    size: int = option("rows of a step", default=8)
    pace: str = option("how fast", default="slow")
    groups: tuple[Group, ...] = option("trained alike", default=())

class Run(Walk):
    """Faster."""
    name = "run"
'''
KINDS = {"source": "Lines", "fusion": "Join", "head": "Guess", "loss": "Miss", "metric": "Hits"}
OFFERS = {f"a2a_{kind}{'es' if kind == 'loss' else 's'}": {name.lower(): f"acme.parts:{name}"} for kind, name in KINDS.items()}
OFFERS |= {"a2a_encoders": {"eye": "acme.parts:Eye", "ear": "acme.parts:Ear"}}
OFFERS |= {"a2a_trainers": {"walk": "acme.parts:Walk", "run": "acme.parts:Run"}}
RECIPE = """
[data.train]
use = "lines"
path = "train.txt"
[encoders.picture]
use = "eye"
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
[trainer]
use = "walk"
[[trainer.groups]]
rate = 0.5
"""


@pytest.fixture
def recipe(make_plugin: Any, tmp_path: Path) -> Path:
    make_plugin("acme", OFFERS, parts=PARTS)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def found(recipe: Path, *sets: str, without: tuple[str, ...] = ()) -> list[tuple[str, Any, Any, str]]:
    before = load_recipe(recipe, None, environ={})
    after = load_recipe(recipe, None, sets, without, environ={})
    return [(each.name, each.before, each.after, each.verdict) for each in changes(before, after)]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("trainer.epochs=3", ("trainer.epochs", 1, 3, "force")),
        ("trainer.size=4", ("trainer.size", 8, 4, "never")),
        ("trainer.pace=fast", ("trainer.pace", "slow", "fast", "never")),
        ("trainer.use=run", ("trainer", "acme:walk", "acme:run", "never")),
        ("trainer.groups=[{rate=0.2}]", ("trainer.groups[0].rate", 0.5, 0.2, "force")),
        ("trainer.groups=[]", ("trainer.groups", [{"rate": 0.5}], [], "force")),
        ("data.train.path=other.txt", ("data.train.path", "train.txt", "other.txt", "force")),
        ("data.train.header=true", ("data.train.header", False, True, "never")),
        ('data.test={use="lines", path="t"}', ("data.test", None, "acme:lines", "force")),
        ("encoders.picture.width=4", ("encoders.picture.width", 8, 4, "never")),
        ("encoders.picture.use=ear", ("encoders.picture", "acme:eye", "acme:ear", "never")),
        ("losses.digit.weight=2", ("losses.digit.weight", 1.0, 2.0, "never")),
        ("bad_rows=0.5", ("bad_rows", 0.01, 0.5, "force")),
        ("seed=1", ("seed", 0, 1, "never")),
        ("init_but=['a']", ("init_but", [], ["a"], "never")),
        ("plugins.require=['acme']", ("plugins.require", [], ["acme"], "free")),
    ],
)
def test_each_change_is_judged(recipe: Path, setting: str, expected: tuple[str, Any, Any, str]) -> None:
    assert found(recipe, setting) == [expected]


def test_what_is_gone_is_one_change(recipe: Path) -> None:
    assert found(recipe, without=("metrics.hits",)) == [("metrics.hits", "acme:hits", None, "force")]


def test_another_backend_is_free(recipe: Path) -> None:
    pytest.importorskip("a2a_accelerate")
    assert found(recipe, "backend.device=cpu") == [("backend.device", "auto", "cpu", "free")]
    assert found(recipe, "backend.use=ddp") == [("backend", "a2a-accelerate:single", "a2a-accelerate:ddp", "free")]


def test_reasons_are_those_that_components_give(recipe: Path) -> None:
    before, after = (
        load_recipe(recipe, None, sets, environ={}) for sets in ((), ("trainer.size=4", "trainer.pace=fast", "seed=2"))
    )
    reasons = {change.name: change.reason for change in changes(before, after)}
    assert reasons == {
        "seed": "the order of the rows and everything random follow from it",
        "trainer.size": "steps are counted in it",
        "trainer.pace": "the checkpoint was written with the old one",
    }


def test_a_filled_recipe_is_the_same_recipe(recipe: Path, tmp_path: Path) -> None:
    from a2a_core.recipe import fill

    before = load_recipe(recipe, None, environ={})
    (tmp_path / "filled.toml").write_text(fill(before))
    assert changes(before, load_recipe(tmp_path / "filled.toml", None, environ={})) == []


def test_changes_are_written_down_and_can_be_taken_back(recipe: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    run.recipe.write_text("as it was")
    before, after = (load_recipe(recipe, None, sets, environ={}) for sets in ((), ("trainer.epochs=3",)))
    for _ in range(2):
        adopt(run, after, changes(before, after), {"overridden": ["trainer.epochs"]})
        (change,) = changed(run)
        assert (change["step"], change["settings"]) == (0, {"trainer.epochs": [1, 3]})
        assert "epochs = 3" in run.recipe.read_text()
        assert (run.folder / change["former"]).read_text() == "as it was"
        undo(run)
        assert run.recipe.read_text() == "as it was"
        assert changed(run) == []
        assert not (run.folder / change["former"]).exists()
    adopt(run, after, changes(before, after), {})
    whole(run, 4)
    undo(run)
    assert "epochs = 3" in run.recipe.read_text(), "there are steps that were made with it"


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def whole(run: Run, step: int) -> Path:
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    manifest.write(folder, {}, step=step)
    return folder


def test_the_newest_checkpoint_that_can_be_relied_on(tmp_path: Path) -> None:
    run, notes = Run(tmp_path), Notes()
    assert checkpoint(run, notes) is None
    assert "no checkpoint yet" in notes.notes.pop()
    folders = {step: whole(run, step) for step in (2, 4, 10, 12)}
    (run.checkpoints / ".checkpoint-14.partial").mkdir()
    assert checkpoint(run, notes) == folders[12]
    assert not notes.notes
    assert not (run.checkpoints / ".checkpoint-14.partial").exists()
    (folders[12] / "model.safetensors").write_bytes(b"weightz")
    (folders[10] / "manifest.json").unlink()
    (run.checkpoints / "damaged-12").mkdir()
    assert checkpoint(run, notes) == folders[4]
    assert [note.partition(":")[0] for note in notes.notes] == ["checkpoint-12 is passed over", "checkpoint-10 is passed over"]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "checkpoint-2",
        "checkpoint-4",
        "damaged-10",
        "damaged-12",
    ]
    assert (run.checkpoints / "damaged-12" / "model.safetensors").read_bytes() == b"weightz"
    for step in (2, 4):
        (folders[step] / "model.safetensors").unlink()
    with pytest.raises(RunFailed, match="checkpoint-4: `model.safetensors` is missing; checkpoint-2: `model.safetensors`"):
        checkpoint(run, notes)
    assert folders[4].exists()

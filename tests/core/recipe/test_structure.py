"""Every type, exactly; every mistake, all at once, each where it stands."""

from pathlib import Path

import pytest

from a2a_core.errors import A2AError
from a2a_core.recipe import plain, structure_parts

ENCODER = '[encoders.image]\nuse = "patch"\n'


@pytest.mark.parametrize(
    ("written", "name", "expected"),
    [
        ("width = 96", "width", 96),
        ("dropout = 0", "dropout", 0.0),
        ("dropout = 0.5", "dropout", 0.5),
        ("mean = [1, 0.5]", "mean", (1.0, 0.5)),
        ("size = [4, 6]", "size", (4, 6)),
        ('names = ["a"]', "names", ["a"]),
        ('pool = "cls"', "pool", "cls"),
        ("pool = 2", "pool", 2),
        ("layer = 3", "layer", 3),
        ('layer = "last"', "layer", "last"),
        ("steps = 4", "steps", 4),
        ("steps = [4, 5]", "steps", (4, 5)),
        ("weights = { a = 1, b = 0.5 }", "weights", {"a": 1.0, "b": 0.5}),
        ("config = { a = [1, { b = true }] }", "config", {"a": [1, {"b": True}]}),
        ("freeze = true", "freeze", True),
    ],
)
def test_right_values(load, written, name, expected) -> None:
    value = getattr(load(ENCODER + written).recipe.encoders["image"], name)
    assert value == expected
    assert type(value) is type(expected)


def test_nested_options_and_enums(load) -> None:
    image = load(ENCODER + 'mode = "slow"\ncrop = { size = 3 }').recipe.encoders["image"]
    assert image.mode.name == "SLOW"
    assert (image.crop.size, image.crop.centre) == (3, True)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("width = 1.5", "`encoders.image.width` must be an integer, got a number, 1.5"),
        ("width = 96.0", "`encoders.image.width` must be an integer, got a number, 96.0"),
        ("width = true", "`encoders.image.width` must be an integer, got a boolean, true"),
        ('width = "96"', '`encoders.image.width` must be an integer, got a string, "96" | without the quotes?'),
        ("width = 9223372036854775808", "`encoders.image.width` is beyond 64 bits"),
        ("width = 0", "`encoders.image.width` must be > 0, got 0"),
        ("width = 2024-01-01", "`encoders.image.width` must be an integer, got a date, 2024-01-01"),
        ("dropout = inf", "`encoders.image.dropout` must be finite"),
        ("dropout = -nan", "`encoders.image.dropout` must be finite"),
        ("dropout = true", "`encoders.image.dropout` must be a number, got a boolean, true"),
        ("dropout = 1", "`encoders.image.dropout` must be < 1, got 1.0"),
        ("freeze = 1", "`encoders.image.freeze` must be true or false, got an integer, 1"),
        ('freeze = "false"', '`encoders.image.freeze` must be true or false, got a string, "false" | without the quotes?'),
        ("field = 1", "`encoders.image.field` must be a string, got an integer, 1 | in quotes?"),
        ("mean = 1", "`encoders.image.mean` must be a list of numbers, got an integer, 1"),
        ("mean = [1, -1]", "`encoders.image.mean` must be >= 0, got -1.0"),
        ('mean = [1, "x"]', '`encoders.image.mean.1` must be a number, got a string, "x"'),
        ("size = [1]", "`encoders.image.size` must be [an integer, an integer], 2 values, got a list"),
        ("size = [1, 2.5]", "`encoders.image.size.1` must be an integer, got a number, 2.5"),
        ('pool = "cl"', '`encoders.image.pool` must be "cls" or "mean" or 2, got a string, "cl" | did you mean `cls`?'),
        ("pool = true", '`encoders.image.pool` must be "cls" or "mean" or 2, got a boolean, true'),
        ('mode = "Fast"', '`encoders.image.mode` must be "fast" or "slow", got a string, "Fast" | did you mean `fast`?'),
        ("layer = 1.5", "`encoders.image.layer` must be an integer or a string, got a number, 1.5"),
        ("steps = [1, 2.5]", "`encoders.image.steps.1` must be an integer, got a number, 2.5"),
        ("weights = { a = -1 }", "`encoders.image.weights` must be >= 0, got -1.0"),
        ("weights = 3", "`encoders.image.weights` must be a table of numbers, got an integer, 3"),
        ("config = { a = { b = nan } }", "`encoders.image.config.a.b` must be finite"),
        (
            "config = { a = 2024-01-01 }",
            "`encoders.image.config.a` must be a string, a number or a boolean, got a date, 2024-01-01 | dates are written in quotes",
        ),
        ("crop = 3", "`encoders.image.crop` must be a table, got an integer, 3"),
        ("crop = {}", "`encoders.image.crop` needs `size` | pixels"),
        ("crop = { size = 1, centr = true }", "unknown key `centr` for `encoders.image.crop` | did you mean `centre`?"),
        ('path = ""', '`encoders.image.path` must be a path, got a string, ""'),
        ('path = "a\\u0000b"', '`encoders.image.path` must be a path, got a string, "a\0b"'),
        (
            "hiden = 1",
            "unknown key `hiden` for encoder `patch` (acme-parts 0.1.0) | 20 are known; see `a2a plugins show patch`",
        ),
        ("heads = 5", "encoder `patch` (acme-parts 0.1.0): width 192 is not divisible by heads 5"),
    ],
)
def test_wrong_values(problems, written, message) -> None:
    found = problems(ENCODER + written)
    line = 1 if "divisible" in message else 3
    assert found == [f"{line}: {message}"]


def test_everything_at_once(problems) -> None:
    text = """
sed = 1
[trainer]
epochs = "x"
[encoders.image]
use = "patch"
widht = 3
dropout = 2
[encoders.other]
use = "pach"
[encoders.third]
width = 3
[losses.ce]
use = "twice"
head = "lable"
inner = { use = "cross-entropy", smoothing = 2 }
[heads.label]
use = "classify"
[backend]
use = "single"
ranks = 2
"""
    assert problems(text) == [
        "2: unknown key `sed` for the recipe | did you mean `seed`?",
        '4: `trainer.epochs` must be a number, got a string, "x"',
        "7: unknown key `widht` for encoder `patch` (acme-parts 0.1.0) | did you mean `width`?",
        "8: `encoders.image.dropout` must be < 1, got 2.0",
        "10: unknown encoder `pach` | did you mean `patch`?",
        "11: `encoders.third` does not say which encoder: add `use` | there is `dummy`, `patch`",
        "15: `losses.ce.head`: there is no `[heads.lable]` | did you mean `label`?",
        "16: loss `cross-entropy` (acme-parts 0.1.0) needs `head` | the head whose outputs it judges",
        "16: `losses.ce.inner.smoothing` must be <= 1, got 2.0",
        "21: unknown key `ranks` for backend `single` (acme-parts 0.1.0) | there is none",
    ]


def test_places_are_marked(load) -> None:
    with pytest.raises(A2AError) as caught:
        load('[encoders.image]\nuse = "patch"\nwidht = 1\n')
    assert str(caught.value) == (
        "error: unknown key `widht` for encoder `patch` (acme-parts 0.1.0)\n"
        " --> recipe.toml:3\n"
        "3 | widht = 1\n"
        "    ^^^^^ did you mean `width`?"
    )


def test_nested_components(load) -> None:
    text = '[heads.a]\nuse="classify"\n[losses.ce]\nuse="twice"\nhead="a"\n[losses.ce.inner]\nuse="acme-parts:cross-entropy"\nhead="a"\n'
    recipe = load(text).recipe
    assert recipe.losses["ce"].inner.name == "cross-entropy"


def test_nested_component_of_the_wrong_kind(problems) -> None:
    text = '[heads.a]\nuse="classify"\n[losses.ce]\nuse="twice"\nhead="a"\ninner = { use = "classify" }\n'
    assert problems(text) == ["6: unknown loss `classify` | there is `cross-entropy`, `twice`"]


def test_paths_are_relative_to_their_file(load, write) -> None:
    write('[encoders.image]\nuse = "patch"\npath = "model"\n', "base/base.toml")
    recipe = load('extends = "base/base.toml"\n[data.train]\nuse = "rows"\npath = "train.jsonl"\nmore = ["/x", "y"]').recipe
    here = Path.cwd()
    assert recipe.encoders["image"].path == here / "base" / "model"
    assert recipe.data["train"].path == here / "train.jsonl"
    assert recipe.data["train"].more == (Path("/x"), here / "y")


def test_a_url_stays_as_it_is(load, problems) -> None:
    text = '[data.train]\nuse = "rows"\npath = "train.jsonl"\nurls = '
    urls = ["https://host/a//b?c={0..9}", "s3://bucket/x-*.tar"]
    assert load(f"{text}{urls}".replace("'", '"')).recipe.data["train"].urls == urls
    assert load(text + '"{a,b}/*.tar"').recipe.data["train"].urls == str(Path.cwd() / "{a,b}/*.tar")
    assert problems(text + "3") == [
        "4: `data.train.urls` must be a path or a URL or a list of paths or URLs, got an integer, 3"
    ]


def test_a_broken_rule_of_a_plugin_is_its_own_fault(make_plugin, write, acme) -> None:
    from a2a_core.plugins import Catalog
    from a2a_core.recipe import load_recipe

    source = '''
from a2a_core import CallbackConfig, option

class Bad(CallbackConfig):
    """Bad."""
    name = "bad"
    size: int = option("x", default=0)
    def check(self):
        return 1 / self.size
    def build(self, job): ...
'''
    make_plugin("acme-bad", {"a2a_callbacks": {"bad": "acme_bad.parts:Bad"}}, parts=source)
    with pytest.raises(A2AError, match=r"callback `bad` \(acme-bad 0.1.0\): its check\(\) fails: ZeroDivisionError"):
        load_recipe(write('[callbacks.x]\nuse = "bad"'), Catalog.installed())


def test_parts_round_trip(acme) -> None:
    wanted = {
        "encoders": {"image": {"use": "patch", "width": 96, "crop": {"size": 3}, "path": "/models/x", "mode": "slow"}},
        "projectors": {"image": {"use": "linear2"}},
        "fusion": {"use": "concat"},
        "heads": {"label": {"use": "classify", "classes": ["a", "b"]}},
        "losses": {"ce": {"use": "twice", "head": "label", "inner": {"use": "cross-entropy", "head": "label"}}},
        "adapters": [{"use": "freeze"}],
    }
    parts = structure_parts(wanted, acme)
    saved = plain(parts)
    assert saved["encoders"]["image"]["use"] == "acme-parts:patch"
    assert saved["encoders"]["image"]["path"] == "/models/x"
    assert "layer" not in saved["encoders"]["image"]
    assert saved["losses"]["ce"]["inner"]["use"] == "acme-parts:cross-entropy"
    assert structure_parts(saved, acme) == parts


def test_parts_are_as_strict_as_recipes(acme) -> None:
    with pytest.raises(A2AError) as caught:
        structure_parts({"encoders": {"image": {"use": "patch", "width": "96"}}, "seed": 3}, acme)
    assert [each.message for each in caught.value.problems] == [
        '`encoders.image.width` must be an integer, got a string, "96"',
        "the saved model needs `fusion`",
        "unknown key `seed` for the saved model",
    ]

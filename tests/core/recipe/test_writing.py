"""A filled recipe is a recipe: complete, with origins, and the same when it is read again."""

import re
from pathlib import Path

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.recipe import fill, load_recipe, plain
from a2a_core.recipe.writing import toml


def test_a_filled_recipe(load, write, acme) -> None:
    write("bad_rows = 0.5\n", "base.toml")
    text = """extends = "base.toml"
[encoders.image]
use = "patch"
config = { "a b" = [1, { c = "\\u007f\\n" }] }
path = "model"
[trainer]
groups = [{ size = 1 }, { size = 2, centre = false }]
"""
    loaded = load(text, ["trainer.epochs=2"], environ={"A2A__SEED": "3"})
    filled = fill(loaded)
    lines = [re.sub(r" {2,}#", "  #", line) for line in filled.splitlines()]
    here = Path.cwd()
    for line in (
        "seed = 3  # environment A2A__SEED",
        "bad_rows = 0.5  # base.toml:1",
        'use = "acme-parts:patch"  # recipe.toml:3',
        f'path = "{here}/model"  # recipe.toml:5',
        "width = 192  # default",
        "mean = [0.5, 0.5]  # default",
        'mode = "fast"  # default',
        "# layer =  # default",
        "[encoders.image.config]",
        '"a b" = [1, { c = "\\u007F\\n" }]  # recipe.toml:4',
        "epochs = 2.0  # --set",
        "[[trainer.groups]]",
        "centre = false  # recipe.toml:7",
        'use = "a2a-trainer:pad"  # default',
        "[callbacks]",
    ):
        assert line in lines
    again = load_recipe(write(filled, "elsewhere/filled.toml"), acme, environ={})
    assert again.recipe == loaded.recipe
    assert tomli.loads(fill(again)) == tomli.loads(filled)


def test_a_whole_recipe_filled_twice(load, whole, write, acme) -> None:
    loaded = load(whole)
    again = load_recipe(write(fill(loaded), "x/filled.toml"), acme, environ={}, for_run=True)
    assert again.recipe == loaded.recipe
    assert tomli.loads(fill(again)) == tomli.loads(fill(loaded))


NAMES = st.sampled_from(["a", "b-c", "ключ"])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
FLOATS = st.floats(0, 0.99)
INTEGERS = st.integers(1, 2**62)
DATA = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CROP = st.fixed_dictionaries({"size": INTEGERS}, optional={"centre": st.booleans()})
PATCH = st.fixed_dictionaries(
    {"use": st.sampled_from(["patch", "acme-parts:patch"])},
    optional={
        "dropout": FLOATS | st.just(0),
        "mean": st.lists(FLOATS, max_size=3),
        "size": st.lists(INTEGERS, min_size=2, max_size=2),
        "names": st.lists(TEXTS, max_size=3),
        "mode": st.sampled_from(["fast", "slow"]),
        "pool": st.sampled_from(["cls", "mean", 2]),
        "layer": INTEGERS | TEXTS,
        "crop": CROP,
        "steps": INTEGERS | st.lists(INTEGERS, max_size=3),
        "weights": st.dictionaries(TEXTS, FLOATS, max_size=3),
        "config": st.dictionaries(TEXTS, DATA, max_size=3),
        "path": st.sampled_from(["x", "../y", "/z", "a b", "ü"]),
        "field": TEXTS,
    },
)
RECIPES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "encoders": st.dictionaries(NAMES, PATCH, max_size=2),
        "adapters": st.lists(
            st.fixed_dictionaries({"use": st.just("freeze")}, optional={"match": st.lists(TEXTS, max_size=2)}), max_size=2
        ),
        "trainer": st.fixed_dictionaries({}, optional={"epochs": st.floats(0.1, 9), "groups": st.lists(CROP, max_size=2)}),
    },
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=RECIPES)
def test_random_recipes_survive_filling(load, write, acme, recipe) -> None:
    loaded = load(tomli_w.dumps(recipe))
    again = load_recipe(write(fill(loaded), "other/filled.toml"), acme, environ={})
    assert again.recipe == loaded.recipe
    assert tomli.loads(fill(again)) == tomli.loads(fill(loaded))
    assert plain(again.recipe, acme) == plain(loaded.recipe, acme)


@given(DATA)
def test_toml_of_plain_data(value) -> None:
    assert tomli.loads(f"v = {toml(value)}")["v"] == value


def test_comments_hold_no_line_breaks(acme, write, monkeypatch) -> None:
    path = write("seed = 1\n", "od\nd\x07.toml")
    filled = fill(load_recipe(path, acme, environ={}))
    assert tomli.loads(filled)["seed"] == 1
    assert "# od?d?.toml:1" in filled


def test_names_that_are_not_text_cannot_be_filled(acme, tmp_path, problems) -> None:
    from a2a_core import A2AError

    folder = tmp_path / "bad\udcff"
    folder.mkdir()
    (folder / "recipe.toml").write_text('[encoders.x]\nuse = "patch"\npath = "x"\n')
    with pytest.raises(A2AError, match="a folder whose name is not UTF-8"):
        load_recipe(folder / "recipe.toml", acme, environ={})


def test_plain_without_a_catalog(acme) -> None:
    cls = acme.find("encoder", "patch")
    assert plain(cls())["use"] == "acme-parts:patch"
    stranger = type("Stranger", (cls,), {"__doc__": "Stranger.", "name": "stranger"})
    assert plain(stranger())["use"] == "stranger"

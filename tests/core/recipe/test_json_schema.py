"""The schema takes what loading takes, and refuses what it refuses."""

import copy
from typing import Any

import pytest
import tomli
from jsonschema import Draft202012Validator

from a2a_core.plugins import Catalog
from a2a_core.recipe import fill, schema


@pytest.fixture
def validator(acme) -> Draft202012Validator:
    made = schema(acme)
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


RICH = """
[encoders.sound]
use = "acme-parts:patch"
crop = { size = 3 }
steps = [1, 2]
weights = { a = 1 }
config = { a = [1, { b = "x" }] }
[projectors.sound]
use = "linear2"
[losses.twice]
use = "twice"
head = "label"
inner = { use = "cross-entropy", head = "label" }
[[adapters]]
use = "freeze"
[callbacks.x]
use = "noisy"
"""


def test_recipes_and_filled_recipes_are_valid(load, whole, validator) -> None:
    text = whole + RICH
    validator.validate(tomli.loads(text))
    validator.validate(tomli.loads(fill(load(text))))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sed",), 1),
        (("seed",), "1"),
        (("seed",), -1),
        (("bad_rows",), 2),
        (("encoders", "sound", "widht"), 3),
        (("encoders", "sound", "width"), 0),
        (("encoders", "sound", "width"), 1.5),
        (("encoders", "sound", "use"), "pach"),
        (("encoders", "sound", "pool"), "other"),
        (("encoders", "sound", "mode"), "Fast"),
        (("encoders", "sound", "size"), [1]),
        (("encoders", "sound", "size"), [1, 2, 3]),
        (("encoders", "sound", "mean"), [-1]),
        (("encoders", "sound", "crop", "centr"), True),
        (("encoders", "sound", "weights", "a"), -1),
        (("encoders", "sound", "steps"), "x"),
        (("encoders", "sound", "freeze"), 1),
        (("encoders", "sound", "path"), ""),
        (("losses", "twice", "inner", "smoothing"), 2),
        (("losses", "twice", "inner", "use"), "classify"),
        (("losses", "ce", "head"), None),
        (("data", "train", "path"), None),
        (("encoders", "sound", "use"), None),
        (("trainer", "epoch"), 3),
        (("adapters",), {}),
        (("plugins", "alow"), []),
    ],
)
def test_mutated_recipes_are_not(load, whole, validator, path, value) -> None:
    data = tomli.loads(fill(load(whole + RICH)))
    table: Any = copy.deepcopy(data)
    top = table
    for name in path[:-1]:
        table = table[name]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    assert not validator.is_valid(top)


def test_what_has_a_default_need_not_be_said(validator) -> None:
    assert validator.is_valid({"trainer": {"epochs": 3}})
    assert not validator.is_valid({"trainer": {"epoch": 3}})
    assert not validator.is_valid({"encoders": {"image": {"width": 3}}})


def test_recipes_that_extend_may_be_partial(validator) -> None:
    partial = {"extends": "base.toml", "without": ["heads"], "losses": {"ce": {"weight": 2}}}
    assert validator.is_valid(partial)
    assert not validator.is_valid({"losses": {"ce": {"use": "cross-entropy", "weight": 2}}})
    assert not validator.is_valid(partial | {"seed": "x"})
    assert not validator.is_valid(partial | {"losses": {"ce": {"use": "cross-entropy", "wieght": 2}}})


def test_names_that_clash_must_be_qualified(make_plugin, acme) -> None:
    make_plugin("acme-again", {"a2a_heads": {"classify": "acme_parts.parts:Classify"}})
    validator = Draft202012Validator(schema(Catalog.installed()))
    assert validator.is_valid({"heads": {"a": {"use": "acme-again:classify"}}})
    assert not validator.is_valid({"heads": {"a": {"use": "classify"}}})


def test_without_plugins(make_plugin) -> None:
    make_plugin.alone()
    Draft202012Validator.check_schema(schema(Catalog.installed()))

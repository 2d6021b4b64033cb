"""Whatever is written in a recipe, the user gets a recipe or an A2AError."""

import contextlib
from datetime import date
from typing import Any

import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_core.recipe import fill, load_recipe

SIGNS = [
    "=",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    '"',
    "'",
    '"""',
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\\",
    " ",
    "\0",
    "\ufeff",
    "ü",
    "\u2028",
]
WORDS = ["0", "-1", "1e400", "0x", "nan", "true", "1979-05-27", "9" * 30, "use", "extends", "without", "train", "path", "inner"]
LINES = [
    'extends = "recipe.toml"\n',
    'without = ["heads"]\n',
    "[encoders.image.crop]\n",
    "[[adapters]]\n",
    "[trainer.x]\n",
    "width.a = 1\n",
    "config = {a = [[{b = 1}]]}\n",
    'use = "twice"\n',
    "inner = 3\n",
    "[data]\n",
    "[plugins]\nallow = 3\n",
    'plugins.require = ["["]\n',
]
PIECES = st.sampled_from([*SIGNS, *WORDS, *LINES])
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_mutated_recipes(acme, write, whole, edits) -> None:
    text = whole + '[encoders.sound]\nuse = "patch"\ncrop = { size = 1 }\n'
    for place, removed, added in edits:
        at = int(place * len(text))
        text = text[:at] + added + text[at + removed :]
    check(acme, write, text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    setting=st.tuples(
        st.sampled_from(["seed", "encoders.image.width", "x", "plugins", "data", "encoders.image"]), PIECES, PIECES
    )
)
def test_mutated_settings(acme, write, whole, setting) -> None:
    name, *value = setting
    check(acme, write, whole, [f"{name}={''.join(value)}", f"{''.join(value)}={name}"])


VALUES = st.recursive(
    st.sampled_from([True, 0, -1, 2**63, 1.5, float("nan"), date(2024, 1, 2), "", "patch", "twice", "label", "x\0"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["use", "head", "inner", "size", ""]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_values_of_other_types(acme, write, whole, data) -> None:
    recipe = tomli.loads(whole)
    table: Any = recipe
    while True:
        name = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[name], dict) or not table[name] or data.draw(st.booleans()):
            break
        table = table[name]
    table[data.draw(st.sampled_from([name, "inner", "crop", "config", "adapters", "groups", "steps", "plugins"]))] = data.draw(
        VALUES
    )
    check(acme, write, tomli_w.dumps(recipe))


def check(acme, write, text: str, sets=()) -> None:
    path = write("")
    path.write_bytes(text.encode())
    with contextlib.suppress(A2AError):
        fill(load_recipe(path, acme, sets, environ={}, for_run=True))

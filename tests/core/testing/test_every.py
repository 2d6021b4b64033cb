"""What holds for every component, whatever its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest

from a2a_core import BackendConfig, SourceConfig, option
from a2a_core.options import Options
from a2a_core.testing import checks


class Inner(Options):
    """A table in a table."""

    rate: float = option("samples a second", default=1.5, gt=0)


class Good(BackendConfig):
    """Every type that a recipe can say."""

    name = "good"
    size: int = option("a number")
    path: Path = option("a file", default=Path("a/b.txt"))
    names: tuple[str, ...] = option("names", default=("a", 'quoted "b"', "back\\slash"))
    sizes: dict[str, int] = option("numbers by name", default={"with space": 1})
    inner: Inner = option("a table", default=Inner(rate=0.1))
    maybe: float | None = option("a number or nothing", default=None)
    head: str = option("a head", default="", refers_to="heads")
    source: SourceConfig | None = option("another component", default=None)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(size=1, path=folder / "file.txt", head="kind of head")


def test_a_right_component_passes(judge: Any) -> None:
    assert judge(Good) == set()
    assert judge(Good(size=2, maybe=1e-9, names=())) == set()
    assert judge.skips(Good) == set()


class ListForTuple(Good):
    """Gives a list where a tuple is declared."""

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(size=1, names=["a"])  # type: ignore[arg-type]


class TextForNumber(Good):
    """Gives a text where a number is declared."""

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(size="1")  # type: ignore[arg-type]


class OfASet(Good):
    """Declares what no recipe can say."""

    kinds: set[int] = option("numbers", default=frozenset({1}))  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("component", "says"),
    [
        (ListForTuple, "`names`: ['a'], then ('a',)"),
        (TextForNumber, "must be an integer"),
        (OfASet, "kinds = "),
        (Good(size=1, maybe=float("inf")), "must be finite"),
    ],
    ids=str,
)
def test_what_toml_changes_is_caught(judge: Any, component: Any, says: str) -> None:
    assert judge(component) == {"survives_toml"}
    assert says in judge.says(component, "survives_toml")


class Undocumented(Good):
    pass


class LongWinded(Good):
    """Explains an option at length."""

    more: int = option("x" * 200, default=1)


class Silent(Good):
    """Explains an option by nothing."""

    more: int = option("", default=1)


class InTwoLines(Good):
    """Explains an option in two lines."""

    more: int = option("one\ntwo", default=1)


@pytest.mark.parametrize(
    ("component", "says"),
    [
        (Undocumented, "`Undocumented` has no docstring of its own"),
        (LongWinded, "`more`"),
        (Silent, "`more`"),
        (InTwoLines, "`more`"),
    ],
)
def test_what_is_not_documented_is_caught(judge: Any, component: Any, says: str) -> None:
    assert judge(component) == {"is_documented"}
    assert says in judge.says(component, "is_documented")


class WithoutTiny(BackendConfig):
    """Needs a size, and has no `tiny`."""

    name = "sized"
    size: int = option("a number")


class WithAWrongTiny(Good):
    """Gives something else for tests."""

    @classmethod
    def tiny(cls, folder: Path) -> Any:
        return Good(size=1)


def test_a_component_must_be_testable(judge: Any) -> None:
    assert judge(WithoutTiny) == {"can_be_tested"}
    assert "cls(width=16)" in judge.says(WithoutTiny, "can_be_tested")
    assert "gives Good" in judge.says(WithAWrongTiny, "can_be_tested")


COMPONENT = '''
from a2a_core import BackendConfig

class Backend(BackendConfig):
    """Does nothing, for tests."""

    name = "nothing"
'''


def imports(component: Any) -> Any:
    return next(check for check in checks(component) if check.name == "imports_nothing_heavy").result()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", ""),
        ("import torch", "parts.py:1: import torch"),
        ("from .deeper import something", "deeper.py:2: from transformers import AutoModel"),
        ("try:\n    import numpy\nexcept ImportError:\n    pass", "parts.py:2: import numpy"),
        ("import importlib\nimportlib.import_module('datasets')", "parts.py:2: importlib.import_module('datasets')"),
        ("import importlib.util\nhas_torch = importlib.util.find_spec('torch') is not None", ""),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", ""),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    ],
)
def test_heavy_imports_are_caught_with_their_place(make_plugin: Any, source: str, says: str) -> None:
    deeper = "something = 1\nfrom transformers import AutoModel"
    make_plugin("acme-slow", {"a2a_backends": {"nothing": "acme_slow.parts:Backend"}}, parts=source + COMPONENT, deeper=deeper)
    result = imports(type("Backend", (Good,), {"__module__": "acme_slow.parts", "__doc__": "Lies where it says."}))
    assert result.passed == (says == "")
    assert says in result.message


def test_a_class_that_is_not_found_by_name_is_not_looked_at() -> None:
    made = type("Elsewhere", (Good,), {"__module__": "made_up_by_a_test", "__doc__": "Lies nowhere."})
    assert imports(made).skipped

"""Options are documented, bounded and typed; mypy sees a third party's slips."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import a2a_core
from a2a_core.options import Options, doc, option, within

SNIPPET = '''
"""A third party's component, with three slips in its use."""

from pathlib import Path
from typing import Any, Self

from torch import nn

from a2a_core import EncoderConfig, Processor, option


class Vectors(EncoderConfig):
    """Vectors to one token."""

    name = "vectors"
    modality = "vector"
    width: int = option("channels of a token", default=64, gt=0)
    path: Path = option("where they lie")

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(path=folder, width=4)

    def processor(self) -> Processor:
        raise NotImplementedError

    def build(self) -> nn.Module:
        raise NotImplementedError


class Wrong(Vectors):
    depth: int = option("layers", default="three")


fine = Vectors(path=Path(), freeze=True, field="x")
misspelt = Vectors(path=Path(), widht=3)
mistyped = Vectors(path=Path(), width="3")
missing = Vectors(width=3)
fine.width = 3
read: str = fine.width
'''
SETTINGS = """
[mypy]
strict = True
[mypy-torch.*,transformers.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_mypy_sees_what_is_wrong_with_options(tmp_path: Path) -> None:
    snippet, settings = tmp_path / "snippet.py", tmp_path / "mypy.ini"
    snippet.write_text(SNIPPET)
    settings.write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--cache-dir", str(tmp_path), str(snippet)]
    # mypy does not follow an editable installation
    environ = {**os.environ, "MYPYPATH": str(Path(a2a_core.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environ)
    lines = SNIPPET.splitlines()
    found = {
        lines[int(line.split(":")[1]) - 1].strip(): line.partition("error: ")[2]
        for line in done.stdout.splitlines()
        if line.startswith("snippet.py:") and "Class cannot subclass" not in line
    }
    expected = {
        'depth: int = option("layers", default="three")': 'expression has type "str"',
        "misspelt = Vectors(path=Path(), widht=3)": 'Unexpected keyword argument "widht"',
        'mistyped = Vectors(path=Path(), width="3")': 'has incompatible type "str"; expected "int"',
        "missing = Vectors(width=3)": 'Missing named argument "path"',
        "fine.width = 3": 'Property "width" defined in "Vectors" is read-only',
        "read: str = fine.width": 'expression has type "int"',
    }
    assert found.keys() == expected.keys(), done.stdout
    for line, message in expected.items():
        assert message in found[line]


class Example(Options):
    """An example."""

    share: float = option("a share", default=0.5, ge=0, lt=1)
    table: dict[str, float] = option("shares", default={}, ge=0)
    files: tuple[Path, ...] = option("files", default=(), exists=True)


def test_what_an_option_keeps() -> None:
    share, _, files = attrs.fields(Example)
    assert doc(share).bounds == {"ge": 0, "lt": 1}
    assert not doc(share).exists
    assert doc(files).exists
    with pytest.raises(ValueError, match="declared without"):
        doc(attrs.fields(attrs.make_class("Bare", {"x": attrs.field()}))[0])


@pytest.mark.parametrize("given", [{"share": 1.0}, {"share": -0.5}, {"table": {"a": 1.0, "b": -1.0}}])
def test_bounds_hold_in_code_too(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Example(**given)


@pytest.mark.parametrize("value", [0, 0.5, True, "x", [0.5, 0], {"a": 0}, None])
def test_within(value: Any) -> None:
    within(doc(attrs.fields(Example)[0]), value)


def test_defaults_are_not_shared() -> None:
    assert Example().table is not Example().table
    assert Example() == Example()
    assert Example(share=0.25) != Example()
    assert repr(Example()) == "Example(share=0.5, table={}, files=())"

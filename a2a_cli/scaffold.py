"""A complete third-party plugin: what `a2a plugins new` writes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from a2a_core.errors import A2AError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MODALITY = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
LONGEST = 32
"""Characters of a name: formatters would break lines of the generated code at longer ones."""
TAKEN = ("core", "cli", "trainer")

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$dist"
version = "0.1.0"
description = "a2a plugin: the encoder `$name`, lists of numbers to tokens"
readme = "README.md"
requires-python = ">=3.11"
license-files = ["LICENSE"]
dependencies = ["a2a-trainer>=0.1"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."a2a.plugins"]
$name = "$package.plugin"

[tool.setuptools]
packages.find.where = ["src"]
package-data.$package = ["py.typed"]
"""

README = """\
# $dist

A plugin for a2a. It offers the encoder `$name`: lists of numbers, each as long as it likes, to tokens.

## Use

    python -m pip install -e .

A recipe names it:

```toml
[encoders.readings]    # the field of each row that holds a list of numbers
use = "$name"
window = 4             # numbers that make one token
width = 64             # channels of a token
```

## Test

    python -m pip install -e ".[test]"
    pytest                     # the kit's suite and this package's own tests
    a2a plugins test $dist
"""

LICENSE = """\
Put the text of your licence here, and name it in pyproject.toml:  license = "Apache-2.0"
"""

GITIGNORE = """\
__pycache__/
*.egg-info/
.pytest_cache/
build/
dist/
"""

INIT = '''\
"""$dist: a plugin for a2a."""
'''

PLUGIN = '''\
"""What $dist offers. Every `a2a` command imports this file: keep it light."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_encoders() -> Offers:
    """Encoders, by the name that recipes use."""
    return {
        "$name": "$package.window:WindowEncoder",
    }
'''

CONFIG = '''\
"""The encoder as recipes see it. Importing this file imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from a2a_core import EncoderConfig, option

if TYPE_CHECKING:
    from torch import nn

    from $package.window_model import WindowProcessor


class WindowEncoder(EncoderConfig):
    """Lists of numbers to tokens: windows of numbers through one linear layer.

    A row's field holds a list (`"readings": [0.1, 0.2, 0.3]`). Every `window` numbers
    become one token of `width` channels, so n numbers make ceil(n / window) tokens;
    zeros fill up the last window.
    """

    name = "$name"
    modality = "$modality"
    window: int = option("numbers that make one token", default=4, gt=0)
    width: int = option("channels of a token", default=64, gt=0)

    def processor(self) -> WindowProcessor:
        """A row's list to windows of numbers."""
        from $package.window_model import WindowProcessor

        return WindowProcessor(self.window)

    def build(self) -> nn.Module:
        """The linear layer."""
        from $package.window_model import WindowModel

        return WindowModel(self.window, self.width)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """What the testing kit builds."""
        return cls(window=2, width=8)

    def examples(self, folder: Path) -> Sequence[Any]:
        """What the testing kit encodes: lists of different lengths."""
        return [[0.5, -1.0, 2.0], [1.5], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]
'''

MODEL = '''\
"""The encoder at work: its processor and its torch module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from a2a_core import Item, Tokens
from torch import Tensor, nn


class WindowProcessor:
    """A list of numbers to windows (T, window), the last filled up with zeros."""

    deterministic = True

    def __init__(self, window: int) -> None:
        self.window = window

    def __call__(self, raw: Any) -> Item:
        """Process one list; ValueError for what is no list of finite numbers."""
        try:
            numbers = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"no list of numbers: {error}") from None
        if numbers.ndim != 1 or numbers.numel() == 0:
            raise ValueError(f"no list of numbers: its shape is {list(numbers.shape)}")
        if not numbers.isfinite().all():
            raise ValueError("a number in the list is not finite")
        length = -(-len(numbers) // self.window)
        windows = torch.zeros(length * self.window)
        windows[: len(numbers)] = numbers
        return Item({"values": windows.view(length, self.window)}, length)

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Items side by side: values (N, T, window), mask (N, T), true where real."""
        longest = max(item.length for item in items)
        values = torch.zeros(len(items), longest, self.window)
        mask = torch.zeros(len(items), longest, dtype=torch.bool)
        for place, item in enumerate(items):
            values[place, : item.length] = item.tensors["values"]
            mask[place, : item.length] = True
        return {"values": values, "mask": mask}

    def dummy(self) -> Item:
        """One window of zeros, for batches without this modality."""
        return Item({"values": torch.zeros(1, self.window)}, 1)


class WindowModel(nn.Module):
    """Windows (N, T, window) to tokens (N, T, width)."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(window, width)

    def forward(self, values: Tensor, mask: Tensor) -> Tokens:
        """Encode; the arguments are what the processor's `pad` returns."""
        return Tokens(self.project(values), mask)
'''

TEST_PLUGIN = '''\
"""Everything that this package offers, through the testing kit."""

from a2a_core.testing import suite

test_plugin = suite("$dist")
'''

TEST_OWN = '''\
"""What the kit cannot know: how lists are cut, and what is refused."""

from typing import Any

import pytest

from $package.window import WindowEncoder


def test_the_last_window_is_filled_up_with_zeros() -> None:
    """Three numbers in windows of two are two tokens."""
    item = WindowEncoder(window=2).processor()([1.0, 2.0, 3.0])
    assert item.length == 2
    assert item.tensors["values"].tolist() == [[1.0, 2.0], [3.0, 0.0]]


@pytest.mark.parametrize("raw", [[], 3.0, "abc", [[1.0]], [1.0, None], [float("nan")]])
def test_what_is_no_list_of_finite_numbers_is_refused(raw: Any) -> None:
    """The caller adds row and file to the message."""
    with pytest.raises(ValueError, match="number"):
        WindowEncoder().processor()(raw)
'''

FILES = {
    ".gitignore": GITIGNORE,
    "LICENSE": LICENSE,
    "README.md": README,
    "pyproject.toml": PYPROJECT,
    "src/$package/__init__.py": INIT,
    "src/$package/plugin.py": PLUGIN,
    "src/$package/py.typed": "",
    "src/$package/window.py": CONFIG,
    "src/$package/window_model.py": MODEL,
    "tests/test_plugin.py": TEST_PLUGIN,
    "tests/test_window.py": TEST_OWN,
}


def scaffold(given: str, into: Path, modality: str = "vector") -> list[Path]:
    """Write the package `a2a-<name>` whole or not at all; return its folder and, below it, its files."""
    words = named(given) | {"modality": modality}
    if not MODALITY.fullmatch(modality):
        raise A2AError(f"`{modality}` is no modality", hint="one lower-case word, such as `image` or `heart-rate`")
    root = into / words["dist"]
    if root.exists() or root.is_symlink():
        raise A2AError(f"{root} exists already", hint="choose another name, or another folder with `--into`")
    try:
        into.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{words['dist']}-", dir=into))
    except OSError as error:
        raise A2AError(f"nothing can be written into {into}: {error.strerror}") from error
    try:
        places = [write(made, place, text, words) for place, text in FILES.items()]
        made.chmod(0o777 & ~umask())
        made.rename(root)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return [root, *(root / place for place in places)]


def named(given: str) -> dict[str, str]:
    """A name's forms: distribution, package, module, class; A2AError for a name that cannot be one."""
    name = given.removeprefix("a2a-")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        hint = f"lower-case letters and digits in words with hyphens between, {LONGEST} characters at most: `heart-rate`"
        raise A2AError(f"`{given}` is no name for a plugin", hint=hint)
    if name in TAKEN:
        raise A2AError(f"`{given}` is no name for a plugin: a2a's own packages are called so", hint="choose another name")
    return {
        "name": name,
        "dist": f"a2a-{name}",
        "package": f"a2a_{name.replace('-', '_')}",
    }


def write(root: Path, place: str, text: str, words: dict[str, str]) -> str:
    """One file from its template; its path below the root."""
    found = Template(place).substitute(words)
    path = root / found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Template(text).substitute(words), encoding="utf-8")
    return found


def umask() -> int:
    """The mask of new files; reading it means setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

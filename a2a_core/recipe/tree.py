"""A recipe's values, each with the document where it was written; layers are merged without losing that."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2a_core.errors import Origin

if TYPE_CHECKING:
    from a2a_core.recipe.spans import Key, Range, Span


class Document:
    """Something that values are written in. Lines and columns are found only when they are asked for."""

    def __init__(self, source: str, folder: Path | None = None) -> None:
        self.source, self.folder = source, folder

    def place(self, path: Key, key: bool = False) -> Origin:
        """Where the value at `path` stands, or its key."""
        return Origin(self.source, folder=self.folder)


class TextFile(Document):
    """A recipe file."""

    def __init__(self, source: str, folder: Path, text: str) -> None:
        super().__init__(source, folder)
        self.text = text

    @cached_property
    def spans(self) -> dict[Key, Span]:
        """Each path's place in the text."""
        from a2a_core.recipe.spans import scan  # a recipe without mistakes needs none

        return scan(self.text)

    @cached_property
    def starts(self) -> list[int]:
        """Each line's offset."""
        starts = [0]
        for line in self.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def place(self, path: Key, key: bool = False) -> Origin:
        """By line and column."""
        span = self.spans.get(path)
        return super().place(path) if span is None else self.at(span.key if key else span.value)

    def at(self, where: Range) -> Origin:
        """An offset's line; what is longer is cut at the line's end."""
        row = bisect_right(self.starts, where[0]) - 1
        start, end = self.starts[row], self.starts[row + 1] - 1
        line = self.text[start:end].rstrip()
        return Origin(self.source, line, row + 1, where[0] - start, min(where[1], end) - where[0], self.folder)


class Setting(Document):
    """`trainer.epochs=3` on the command line or in the environment; paths in it are relative to the working folder."""

    def __init__(self, source: str, dotted: str, value: str) -> None:
        super().__init__(source, Path.cwd())
        self.dotted, self.value = dotted, value

    def place(self, path: Key, key: bool = False) -> Origin:
        """Left or right of the `=`."""
        column, length = (0, len(self.dotted)) if key else (len(self.dotted) + 1, len(self.value))
        return Origin(self.source, f"{self.dotted}={self.value}", 0, column, max(1, length), self.folder)


class Node:
    """A scalar, a list of nodes or a table of nodes, and the document that says so."""

    __slots__ = ("document", "former", "path", "value")

    def __init__(self, value: Any, document: Document, path: Key = (), former: Node | None = None) -> None:
        self.value, self.document, self.path = value, document, path
        self.former = former
        """The table that this one, of another `use`, took the place of."""

    @property
    def at(self) -> Origin:
        """Where the value stands."""
        return self.document.place(self.path)

    @property
    def key(self) -> Origin:
        """Where its key stands."""
        return self.document.place(self.path, key=True)

    def __getitem__(self, name: str | int) -> Node:
        node: Node = self.value[name]
        return node

    def get(self, *path: str | int) -> Node | None:
        """What lies below, if there is such a thing."""
        node: Node | None = self
        for name in path:
            value = node.value if node else None
            inside = isinstance(value, dict) and name in value
            inside = inside or (isinstance(value, list) and isinstance(name, int) and name < len(value))
            node = value[name] if inside else None  # type: ignore[index]
        return node

    def plain(self) -> Any:
        """The value as the parser gave it."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value


def tree(value: Any, document: Document, path: Key = ()) -> Node:
    """What the parser gave, as nodes."""
    if isinstance(value, dict):
        value = {name: tree(item, document, (*path, name)) for name, item in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [tree(item, document, (*path, index)) for index, item in enumerate(value)]
    return Node(value, document, path)


def merge(below: Node, above: Node) -> Node:
    """Tables merge key by key; lists and scalars replace; another `use` starts its table anew."""
    if not isinstance(below.value, dict) or not isinstance(above.value, dict):
        return above
    anew = another(below.get("use"), above.get("use"))
    merged = {} if anew else dict(below.value)
    for name, node in above.value.items():
        merged[name] = merge(merged[name], node) if name in merged else node
    # a table is where a file writes it; a setting from outside only changes a value in it
    home = below if isinstance(above.document, Setting) else above
    return Node(merged, home.document, home.path, below if anew else below.former)


def another(below: Node | None, above: Node | None) -> bool:
    """Does `use` name another component? `patch` and `a2a-vision:patch` may be the same."""
    if below is None or above is None or not isinstance(below.value, str) or not isinstance(above.value, str):
        return False
    (dist, _, name), (other, _, its) = below.value.rpartition(":"), above.value.rpartition(":")
    return name != its or "" != dist != other != ""


def without(table: Node, names: tuple[str, ...]) -> Node:
    """The table with one key taken out; KeyError when it is not there."""
    name, *rest = names
    if not isinstance(table.value, dict) or name not in table.value:
        raise KeyError(name)
    if rest:
        left = table.value | {name: without(table.value[name], tuple(rest))}
    else:
        left = {key: node for key, node in table.value.items() if key != name}
    return Node(left, table.document, table.path, table.former)

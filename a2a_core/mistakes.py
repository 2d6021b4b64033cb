"""Mistakes that parts tell of, with the place in the recipe where each stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from a2a_core.errors import A2AError, Origin, Problem

if TYPE_CHECKING:
    from a2a_core.recipe.tree import Node


@contextmanager
def placed(tree: Node) -> Iterator[None]:
    """What is raised inside and says whose mistake it is (A2AError.table) is raised again with the place of that."""
    try:
        yield
    except A2AError as error:
        if not error.table:
            raise
        found = Problems(tree)
        found.add(error.problems, error.table)
        told = type(error)(found)
        told.table = error.table
        raise told from error


class Problems(list[Problem]):
    """Mistakes, collected: each once, with the table of the recipe that it is in."""

    def __init__(self, tree: Node) -> None:
        super().__init__()
        self.tree = tree

    @contextmanager
    def kept(self, table: str = "") -> Iterator[None]:
        """What is raised inside is written down; `table` is the part that is at work there, `heads.label`."""
        try:
            yield
        except A2AError as error:
            self.add(error.problems, table or error.table)
        except KeyError as error:
            self.add([Problem(str(error.args[0]) if error.args else "KeyError")], table)
        except (ValueError, OSError) as error:
            self.add([Problem(str(error))], table)
        except Exception as error:  # a stranger's part may raise anything, and the others are to be checked all the same
            self.add([Problem(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")], table)

    def add(self, found: Iterable[Problem], table: str = "") -> None:
        """These, unless they are known."""
        kind, _, key = table.partition(".")
        node = self.tree.get(kind, int(key) if key.isdigit() else key) if key else self.tree.get(kind)
        title = f"[[{kind}]]" if key.isdigit() else f"[{table}]"
        for problem in found:
            named = problem.message if not table or title in problem.message else f"{title} {problem.message}"
            placed = attrs.evolve(problem, message=named, origin=problem.origin or (place(node, named) if node else None))
            if (placed.message, placed.hint) not in {(each.message, each.hint) for each in self}:
                self.append(placed)


def place(node: Node, message: str) -> Origin:
    """Where in a part's table a mistake stands: at the first of its values that the message quotes, else at the table."""
    quoted = {message.find(f"`{each.value}`"): each for each in scalars(node) if isinstance(each.value, str)}
    first = min((where for where in quoted if where >= 0), default=None)
    return node.key if first is None else quoted[first].at


def scalars(node: Node) -> Iterator[Node]:
    """The values in a table, lists and tables in it included."""
    below = node.value.values() if isinstance(node.value, dict) else node.value if isinstance(node.value, list) else None
    if below is None:
        yield node
    else:
        for each in below:
            yield from scalars(each)

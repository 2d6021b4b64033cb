"""JSON paths (RFC 9535): what they select in a label file."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

import jsonpath_rfc9535
from jsonpath_rfc9535 import JSONPathError

PLAIN = re.compile(r"\['([A-Za-z_]\w*)'\]")
ABSENT = object()
"""What a path that selects nothing gives."""


class JsonPath:
    """One field's path. `several`: the field may hold all that a path with wildcards, slices or filters selects, as a list."""

    def __init__(self, field: str, text: str, several: bool = False) -> None:
        self.field, self.text = field, text
        try:
            self._query = jsonpath_rfc9535.compile(text)
        except JSONPathError as error:
            raise ValueError(f"`json.{field}` = {text!r} is no JSON path: {error}") from None
        self._several = several and not self._query.singular_query()

    def value(self, document: Any) -> Any:
        """What it selects in a document, or ABSENT; ValueError where it selects several values and one is wanted."""
        try:
            found = self._query.find(document)
        except (JSONPathError, RecursionError) as error:
            raise ValueError(f"`{self.text}` (for `{self.field}`) cannot be followed: {error}") from None
        if self._several:
            return found.values()
        if len(found) > 1:
            first, second = (plain(node.path()) for node in found[:2])
            raise ValueError(f"`{self.text}` selects {len(found)} values, `{self.field}` is one: {first}, {second} …")
        return found[0].value if found else ABSENT

    def close(self, document: Any) -> str:
        """A path of this document that was probably meant, else a few that it has."""
        there = [plain(node.path()) for node in jsonpath_rfc9535.find("$..*", document)]
        if close := get_close_matches(self.text, there, n=1):
            return f"did you mean `{close[0]}`?"
        return f"there is {', '.join(f'`{path}`' for path in there[:10])}" if there else "it is empty"


def plain(path: str) -> str:
    """A normalized path as people write it: `$.a.b`, not `$['a']['b']`."""
    return PLAIN.sub(r".\1", path)

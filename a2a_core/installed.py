"""Which plugins are installed, read from their metadata; nothing of theirs is imported.

`importlib.metadata` says the same, but importing it and its e-mail parser takes 20 ms, a seventh of what a command may
take in all. It is asked only where Python has been taught to find distributions in some other way than in folders.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

GROUP = "a2a.plugins"
INFO = (".dist-info", ".egg-info")
FIELD = re.compile(r"^(Name|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
ENTRY = re.compile(r"^([^#;=\n]+?)[ \t]*=[ \t]*([^\s\[#;]+)", re.MULTILINE)
SECTION = re.compile(rf"^\[{re.escape(GROUP)}\][ \t]*$([^\[]*)", re.MULTILINE)


class Point(NamedTuple):
    """One entry point of our group."""

    name: str
    module: str
    dist: str
    version: str
    site: Path
    """The folder that the distribution is installed in."""
    direct: str = ""
    """What pip noted of a distribution that came from no index (`direct_url.json`)."""

    @property
    def location(self) -> str:
        """Where it comes from: the folder of an editable installation, else the one that it is installed in."""
        if '"editable"' in self.direct:
            import json
            from urllib.parse import unquote, urlparse

            try:
                return unquote(urlparse(json.loads(self.direct)["url"]).path)
            except (ValueError, KeyError, TypeError):
                pass  # a damaged note; the folder is known
        return str(self.site)


def canonical(dist: str) -> str:
    """A distribution's name as indexes compare it."""
    return "-".join(part for part in dist.lower().replace("_", "-").replace(".", "-").split("-") if part)


def points() -> list[Point]:
    """Every plugin's entry point; of two versions of a distribution, the one that Python would import."""
    found: dict[str, list[Point]] = {}
    for point in elsewhere() if unusual() else in_folders():
        known = found.setdefault(canonical(point.dist), [])
        if not known or known[0].site == point.site:
            known.append(point)
    return sorted((point for known in found.values() for point in known), key=lambda point: (point.name, point.dist))


def unusual() -> bool:
    """Can distributions lie elsewhere than in folders?"""
    finders = (finder for finder in sys.meta_path if finder is not PathFinder and hasattr(finder, "find_distributions"))
    return any(finders) or any(os.path.isfile(entry) for entry in sys.path)  # noqa: PTH113


def elsewhere() -> Iterator[Point]:
    """The slow way."""
    from importlib.metadata import distributions

    for dist in distributions():
        for entry in dist.entry_points.select(group=GROUP):
            site, direct = Path(str(dist.locate_file(""))), dist.read_text("direct_url.json") or ""
            yield Point(entry.name, entry.value, dist.name, dist.version, site, direct)


def in_folders() -> Iterator[Point]:
    """The folders of sys.path."""
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            if name.endswith(INFO):
                yield from of_distribution(os.path.join(folder or ".", name))  # noqa: PTH118


def of_distribution(info: str) -> Iterator[Point]:
    """The plugins of one distribution."""
    section = SECTION.search(text(info, "entry_points.txt"))
    if section is None:
        return
    fields: dict[str, str] = {}
    header = (text(info, "METADATA") or text(info, "PKG-INFO")).partition("\n\n")[0]
    for field, value in FIELD.findall(header):
        fields.setdefault(field, value)
    for name, module in ENTRY.findall(section[1]):
        yield Point(
            name.strip(),
            module,
            fields.get("Name", "?"),
            fields.get("Version", "?"),
            Path(info).parent,
            text(info, "direct_url.json"),
        )


def text(info: str, file: str) -> str:
    """A metadata file's text; none when it cannot be read."""
    try:
        with open(os.path.join(info, file), encoding="utf-8", errors="replace") as opened:  # noqa: PTH118, PTH123
            return opened.read()
    except OSError:
        return ""

"""Fake plugins for tests: real distributions as far as Python's metadata goes, in a folder of their own on sys.path."""

import sys
from collections.abc import Iterator, Mapping
from importlib import invalidate_caches
from pathlib import Path

import pytest

from a2a_core import plugins
from a2a_core.installed import Point


class MakePlugin:
    """Call it with a distribution's name, what its hooks offer and the sources of its modules.

    `make_plugin("acme-vision", {"a2a_encoders": {"patch": "acme_vision.parts:Patch"}}, parts="...")` makes the package
    `acme_vision` with `plugin.py` and `parts.py`. `plugin` replaces the whole text of `plugin.py`; a `files` name with a dot
    is taken as it is (`{"base.toml": "..."}`). For subprocesses put `folder` on PYTHONPATH.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch

    def __call__(
        self,
        dist: str,
        hooks: Mapping[str, Mapping[str, str]] | None = None,
        *,
        plugin: str | None = None,
        name: str | None = None,
        version: str = "0.1.0",
        files: Mapping[str, str] | None = None,
        **modules: str,
    ) -> Path:
        package = dist.replace("-", "_")
        home = self.folder / package
        home.mkdir()
        info = self.folder / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[a2a.plugins]\n{name or dist} = {package}.plugin\n")
        (home / "__init__.py").write_text("")
        (home / "plugin.py").write_text(hook_module(hooks or {}) if plugin is None else plugin)
        for module, source in modules.items():
            (home / f"{module}.py").write_text(source)
        for file, source in (files or {}).items():
            (home / file).write_text(source)
        invalidate_caches()
        return home

    def alone(self) -> None:
        """Hide the plugins that are really installed, apart from the core's own."""
        found = plugins.points

        def ours() -> list[Point]:
            return [point for point in found() if point.dist == plugins.CORE or point.site == self.folder]

        self.patch.setattr(plugins, "points", ours)


def hook_module(hooks: Mapping[str, Mapping[str, str]]) -> str:
    """The text of a `plugin.py`."""
    parts = [f"@hookimpl\ndef {hook}():\n    return {dict(offers)!r}\n" for hook, offers in hooks.items()]
    return "\n\n".join(["from a2a_core import hookimpl\n", *parts])


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePlugin]:
    """See MakePlugin; what was imported from the fake plugins is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield MakePlugin(folder, monkeypatch)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]

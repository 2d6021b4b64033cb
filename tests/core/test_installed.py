"""Our reading of metadata says what importlib.metadata says."""

import json
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from a2a_core import installed
from a2a_core.installed import canonical, points


def reference() -> set[tuple[str, str, str, str]]:
    entries = metadata.entry_points(group="a2a.plugins")
    return {(entry.name, entry.value, entry.dist.name, entry.dist.version) for entry in entries if entry.dist}


def ours() -> set[tuple[str, str, str, str]]:
    return {(point.name, point.module, point.dist, point.version) for point in points()}


def test_agrees_with_importlib(make_plugin) -> None:
    make_plugin("acme-one", name="one")
    home = make_plugin("Acme.Two", name="two", version="2!1.0rc1+local")
    info = home.parent / "Acme.Two-2!1.0rc1+local.dist-info"
    (info / "entry_points.txt").write_text(
        "[console_scripts]\nx = y:z\n\n[a2a.plugins]\n# a comment\n  two=acme_two.plugin\nthird = acme_two.third  ; comment\n"
        "\n[a2a.plugins.more]\nno = no.no\n"
    )
    found = ours()
    assert ("one", "acme_one.plugin", "acme-one", "0.1.0") in found
    assert ("two", "acme_two.plugin", "Acme.Two", "2!1.0rc1+local") in found
    assert ("third", "acme_two.third", "Acme.Two", "2!1.0rc1+local") in found
    assert {name for name, *_ in found} == {name for name, *_ in reference()}


def test_the_first_of_two_versions_counts(make_plugin, tmp_path, monkeypatch) -> None:
    make_plugin("acme-one", version="2.0")
    old = tmp_path / "old" / "acme_one-1.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Name: acme-one\nVersion: 1.0\n")
    (old / "entry_points.txt").write_text("[a2a.plugins]\nacme-one = acme_one.plugin\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "old")])
    assert [point.version for point in points() if point.dist == "acme-one"] == ["2.0"]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "old"), *sys.path])
    assert [point.version for point in points() if point.dist == "acme-one"] == ["1.0"]


def test_egg_info_of_a_development_install(tmp_path, monkeypatch) -> None:
    info = tmp_path / "acme_egg.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: acme-egg\nVersion: 0.3\n\nName: not this\n")
    (info / "entry_points.txt").write_text("[a2a.plugins]\negg = acme_egg.plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ("egg", "acme_egg.plugin", "acme-egg", "0.3") in ours()


def test_where_an_editable_plugin_lies(make_plugin) -> None:
    home = make_plugin("acme-one")
    info = home.parent / "acme_one-0.1.0.dist-info"
    direct = {"dir_info": {"editable": True}, "url": "file:///src/acme%20one"}
    (info / "direct_url.json").write_text(json.dumps(direct))
    assert next(point.location for point in points() if point.dist == "acme-one") == "/src/acme one"
    (info / "direct_url.json").write_text('{"editable"')
    assert next(point.location for point in points() if point.dist == "acme-one") == str(home.parent)


def test_zip_files_are_left_to_importlib(tmp_path, monkeypatch) -> None:
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("acme_zip-1.0.dist-info/METADATA", "Name: acme-zip\nVersion: 1.0\n")
        file.writestr("acme_zip-1.0.dist-info/entry_points.txt", "[a2a.plugins]\nzipped = acme_zip.plugin\n")
    monkeypatch.syspath_prepend(str(archive))
    assert installed.unusual()
    assert ("zipped", "acme_zip.plugin", "acme-zip", "1.0") in ours()
    assert ours() == reference()


@pytest.mark.parametrize("folder", ["gone", "file"])
def test_odd_entries_of_the_path_are_passed_over(make_plugin, tmp_path, monkeypatch, folder) -> None:
    make_plugin("acme-one")
    before = ours()
    monkeypatch.setattr(sys, "path", [str(tmp_path / folder), *sys.path, ""])
    monkeypatch.chdir(tmp_path)
    assert ours() == before


def test_unreadable_metadata_is_passed_over(make_plugin) -> None:
    home = make_plugin("acme-one")
    info = Path(home.parent) / "acme_one-0.1.0.dist-info"
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[a2a.plugins]")
    assert not [point for point in points() if point.dist == "acme-one"]


@pytest.mark.parametrize("name", ["a2a-vision", "A2A_Vision", "a2a.vision", "a2a--vision"])
def test_names_are_compared_as_indexes_do(name) -> None:
    assert canonical(name) == "a2a-vision"

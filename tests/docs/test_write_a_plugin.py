"""Follow docs/write-a-plugin.md word for word, in an environment of its own that sees the packages of this one."""

import json
import os
import re
import stat
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "write-a-plugin.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w./-]+)\n")
NEEDED = ("a2a-data", "a2a-fusion", "a2a-classification", "a2a-hf", "a2a-accelerate")


def blocks() -> Iterator[tuple[str, str]]:
    for language, text in BLOCK.findall(PAGE.read_text()):
        if language in ("sh", "python", "toml"):
            yield language, text


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def environment(folder: Path) -> dict[str, str]:
    """A virtual environment in `folder` that also sees what is installed here; installing into it leaves ours alone."""
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    programs = folder / "bin"
    for name, module in (("a2a", "a2a_cli.main"), ("pytest", "pytest")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{programs}/python" -m {module} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
    settings = {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": ""}
    if installed("setuptools") and int(version("setuptools").partition(".")[0]) >= 77:
        settings["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's reading of it: no isolation, nothing to download
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **settings}


def follow(text: str, language: str, folder: Path, variables: dict[str, str]) -> Path:
    """Write a file, or run commands; the folder in which the next block goes on."""
    if language != "sh":
        name = FILE.match(text)
        assert name, f"this block does not begin with its file's name:\n{text}"
        path = folder / name[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.removeprefix(name[0]))
        return folder
    command = ["bash", "-ec", f"{text}\npwd"]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return Path(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not all(map(installed, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_the_tutorial(tmp_path: Path) -> None:
    variables = environment(tmp_path / "environment")
    folder = tmp_path
    for language, text in blocks():
        folder = follow(text, language, folder, variables)
    state = json.loads((folder / "runs" / "first" / "run.json").read_text())
    assert state["status"] == "done"
    assert state["results"]["validation"]["accuracy"] > 0.9
    for tool in (["ruff", "check", "--extend-select=B,D1,F,I,N,PT,RUF,SIM,UP", "--ignore=D107"], ["ruff", "format", "--check"]):
        done = subprocess.run([sys.executable, "-m", *tool, "."], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_every_hook_and_base_class_is_in_the_table() -> None:
    from a2a_core.components import KINDS
    from a2a_core.hookspecs import HOOKS

    text = PAGE.read_text()
    for hook, kind in HOOKS.items():
        base = f"`{KINDS[kind].__name__}`" if kind in KINDS else ""
        assert f"| {kind} | `{hook}` | {base}".rstrip() in text

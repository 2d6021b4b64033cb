"""A run to launch, and an interpreter that stands in for a2a: it writes down what it is given."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a2a_core import BackendConfig, option
from a2a_core.launchers import Launch, Written

A2A = f"""#!{sys.executable}
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
run = pathlib.Path(arguments[arguments.index("--out" if "--out" in arguments else "--resume") + 1])
told = {{"arguments": arguments, "environment": dict(os.environ)}}
def leave(status):
    (run / "checkpoints" / "checkpoint-3").mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text(json.dumps({{"status": status}}, indent=1))
def save(number, frame):
    leave("preempted")
    sys.exit(0)
ends = json.loads((here / "ends.json").read_text())
if ends == "wait":
    for each in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, save)
with (here / "told.jsonl").open("a") as file:
    file.write(json.dumps(told) + "\\n")
if ends == "wait":
    time.sleep(30)
if ends == 0:
    leave("done")
sys.exit(ends)
"""


class Several(BackendConfig):
    """Several ranks on several machines."""

    name = "several"
    processes: int = option("ranks on each machine", default=0)
    nodes: int = option("machines", default=1)
    rendezvous: str = option("where they meet", default="")
    device: str = option("where to compute", default="auto")


class FakeA2A:
    """An interpreter whose `-m a2a_cli train` ends as told: an exit code (0: done), or `wait`, until a signal has it save."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "fake python"
        self.path.write_text(A2A)
        self.path.chmod(0o755)
        self.ends(0)

    def ends(self, how: Any) -> None:
        (self.folder / "ends.json").write_text(json.dumps(how))

    @property
    def told(self) -> list[dict[str, Any]]:
        path = self.folder / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def arguments(self) -> list[list[str]]:
        return [each["arguments"] for each in self.told]


@pytest.fixture
def a2a(tmp_path: Path) -> FakeA2A:
    return FakeA2A(tmp_path)


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    def made(name: str = "digits", **backend: Any) -> Launch:
        options = {"nodes": 2, "processes": 4, **backend}
        return Launch(
            name=name,
            recipe="seed = 1\n",
            folder=tmp_path / "launch" / name,
            run=tmp_path / "runs" / name,
            backend=Several(**options),
        )

    return made


@pytest.fixture
def put() -> Callable[[Written, Path], Path]:
    """Writes the files; gives the last one's path."""

    def put(written: Written, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in written.files.items():
            (folder / name).write_text(text)
        return folder / list(written.files)[-1]

    return put


@pytest.fixture
def shell() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs to the end."""
    return run


def run(*command: str | Path, path: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    folders = os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]])
    variables = {**os.environ, **environment, "PATH": folders}
    return subprocess.run([*map(str, command)], env=variables, capture_output=True, text=True, timeout=60, check=False)

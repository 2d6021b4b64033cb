"""`a2a plugins list` and `a2a check` with every plugin here and twenty strangers installed: CPU time, and no torch.

Target: at most 0.15 s of CPU time, or 4x `import click, pluggy` measured in the same run. One of the strangers' components
imports torch at its module's top; nobody asks for it, so nobody pays for it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

ROUNDS = 15
LIMIT, RATIO = 0.15, 4.0
RECIPE = Path(__file__).parent.parent / "examples" / "digits" / "recipe.toml"
KINDS = {
    "encoders": "EncoderConfig",
    "fusions": "FusionConfig",
    "heads": "HeadConfig",
    "losses": "LossConfig",
    "metrics": "MetricConfig",
}


def main() -> int:
    """Print a line a command; 1 if a target is missed."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(20):
            stranger(Path(folder), number)
        recipe = prepared(Path(folder))
        env = {**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
        a2a = [sys.executable, "-m", "a2a_cli"]
        commands = {
            "import click, pluggy": [sys.executable, "-c", "import click, pluggy"],
            "a2a plugins list": [*a2a, "plugins", "list"],
            "a2a check": [*a2a, "check", str(recipe)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):  # interleaved, so that a busy neighbour troubles all alike
            for name, command in commands.items():
                times[name].append(cpu(command, env))
        heavy = [name for name in list(commands)[1:] if imports_torch(commands[name], env)]
    peer = statistics.median(times["import click, pluggy"])
    missed = bool(heavy)
    for name, each in times.items():
        middle = statistics.median(each)
        missed |= middle > max(LIMIT, RATIO * peer)
        print(f"{name:22} {middle:.3f} s CPU  {middle / peer:.2f}x `import click, pluggy`")
    print(f"torch imported by: {', '.join(heavy) or 'none'}")
    print(f"target: at most {LIMIT} s, or {RATIO}x: {'missed' if missed else 'met'}")
    return int(missed)


def stranger(folder: Path, number: int) -> None:
    """A plugin with five components; the seventh's are heavy."""
    package = f"stranger_{number}"
    (folder / package).mkdir()
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{number}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[a2a.plugins]\nstranger-{number} = {package}.plugin\n")
    hooks = ["from a2a_core import hookimpl"]
    parts = ["import torch" if number == 7 else "", "from a2a_core import " + ", ".join(KINDS.values())]
    for kind, base in KINDS.items():
        hooks.append(f"@hookimpl\ndef a2a_{kind}():\n    return {{'thing-{number}': '{package}.parts:{base}{number}'}}")
        parts.append(f'class {base}{number}({base}):\n    """A thing."""\n    name = "thing-{number}"')
    (folder / package / "__init__.py").write_text("")
    (folder / package / "plugin.py").write_text("\n\n".join(hooks))
    (folder / package / "parts.py").write_text("\n\n".join(parts))


def prepared(folder: Path) -> Path:
    """The digits recipe, with data files that are there."""
    (folder / "recipe.toml").write_text(RECIPE.read_text())
    (folder / "data").mkdir()
    for split in ("train", "validation", "test"):
        (folder / "data" / f"{split}.jsonl").write_text("{}\n")
    return folder / "recipe.toml"


def cpu(command: list[str], env: dict[str, str]) -> float:
    """User and system time of a process, in seconds."""
    with tempfile.TemporaryFile() as out:
        pid = os.posix_spawn(
            command[0], command, env, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), number) for number in (1, 2)]
        )
        _, status, used = os.wait4(pid, 0)
        if status:
            out.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{out.read().decode()}")
    return used.ru_utime + used.ru_stime


def imports_torch(command: list[str], env: dict[str, str]) -> bool:
    """Whether torch is among what the process imports."""
    import subprocess

    done = subprocess.run(command, env={**env, "PYTHONPROFILEIMPORTTIME": "1"}, capture_output=True, text=True, check=True)
    return any(line.rpartition("|")[2].strip() == "torch" for line in done.stderr.splitlines())


if __name__ == "__main__":
    sys.exit(main())

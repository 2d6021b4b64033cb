"""Shell that all launchers write: POSIX, every word of the user's quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote

from a2a_core.launchers import Launch

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STOPPED = 143
"""The exit code of a process that SIGTERM ended."""


def plain(name: str) -> str:
    """A run's name for comments and for engines that take letters, digits and `.-_` only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64] or "a2a"


def exported(environment: Mapping[str, str]) -> str:
    """Variables, set; ValueError for a name that no shell knows."""
    wrong = [name for name in environment if not VARIABLE.fullmatch(name)]
    if wrong:
        raise ValueError(f"`{wrong[0]}` cannot be the name of an environment variable")
    return lines(f"export {name}={quote(value)}" for name, value in environment.items())


def lines(each: Iterable[str]) -> str:
    """One below the other, each with its end."""
    return "".join(f"{line}\n" for line in each)


def arguments(run: Path, recipe: str) -> str:
    """Sets `$@` to what `a2a train` is given: the recipe, and the run to begin or to go on with; ends where it is done.

    A checkpoint decides, not the folder: there is none before all nodes have come this far, so that all see the same.
    """
    return f"""\
run={quote(str(run))}
status() {{ grep -qs "\\"status\\": \\"$1\\"" "$run/run.json"; }}
if status "done"; then
  echo "$run is finished"
  exit 0
fi
set -- {quote(recipe)} --out "$run"
for checkpoint in "$run"/checkpoints/checkpoint-*; do
  if [ -d "$checkpoint" ]; then set -- {quote(recipe)} --resume "$run"; fi
done
"""


def train(python: str) -> str:
    """The command that trains, on one machine; what comes from `arguments` is in `$@`."""
    return f'{quote(python)} -m a2a_cli train "$@"'


def spread(launch: Launch, nodes: str, rendezvous: str) -> str:
    """How the machines find one another, as options of `a2a train`; both are shell words. None for a backend of one rank.

    One machine is said, too: the run may have been begun on several.
    """
    several = f" --set backend.nodes={nodes} --set backend.rendezvous={rendezvous if launch.nodes > 1 else ''}"
    return several if hasattr(launch.backend, "rendezvous") else ""


def attended(command: str, signal: str) -> str:
    """Runs a command, hands a signal on to it, and waits until it has ended: `$code`; `$warned` is set where one came."""
    return f"""\
warned=
again=yes
warn() {{
  warned=yes
  again=yes
  kill -{signal} "$agent"
}}
{command} &
agent=$!
trap warn {signal}
while [ -n "$again" ]; do # a signal ends `wait` before the command has ended
  again=
  wait "$agent"
  code=$?
done
"""

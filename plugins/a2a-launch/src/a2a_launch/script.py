"""The launcher `script`."""

from __future__ import annotations

import sys
from shlex import quote

from a2a_core import A2AError, option
from a2a_core.launchers import RECIPE, Launch, LauncherConfig, Written
from a2a_launch.shell import arguments, exported, lines, plain, spread, train

SCRIPT = "job.sh"


class ScriptLauncher(LauncherConfig):
    """A script to run on each of `backend.nodes` machines that share a file system.

    On each machine it runs `a2a train`, which starts that machine's ranks and meets the others at `rendezvous`. Run again after
    it was stopped, it goes on from the last checkpoint.
    """

    name = "script"
    rendezvous: str = option("host:port of one of the machines [default: `backend.rendezvous`]", default="")
    python: str = option("the interpreter that has a2a, on all machines [default: this one]", default="")
    setup: tuple[str, ...] = option("lines of shell that come first, such as `module load cuda`", default=())
    environment: dict[str, str] = option("variables to set", default={})

    def check(self) -> None:
        """See Options."""
        exported(self.environment)
        host, _, port = self.rendezvous.rpartition(":")
        if self.rendezvous and not (host and port.isdecimal()):
            raise ValueError(f"`rendezvous` is host:port, such as first-host:29400, got `{self.rendezvous}`")

    def build(self, launch: Launch) -> Written:
        """See LauncherConfig."""
        meet = self.rendezvous or launch.asked("rendezvous", "")
        if launch.nodes > 1 and not meet:
            hint = "name a port of one of them: `--with rendezvous=first-host:29400`"
            raise A2AError(f"{launch.nodes} machines have no place to meet", hint=hint)
        if launch.nodes == 1 and self.rendezvous:
            raise A2AError(
                "one machine has nobody to meet: `backend.nodes` = 1", hint="set `backend.nodes`, or no `rendezvous`"
            )
        where = "here" if launch.nodes == 1 else f"on each of {launch.nodes} machines"
        several = spread(launch, str(launch.nodes), quote(meet))
        text = f"""\
#!/bin/sh
# Trains {plain(launch.name)}: run it {where}; written by `a2a launch`.
{lines(self.setup)}{exported(self.environment)}set -u

{arguments(launch.run, str(launch.folder / RECIPE))}
exec {train(self.python or sys.executable)}{several}
"""
        start = f"sh {quote(str(launch.folder / SCRIPT))}"
        told = start if launch.nodes == 1 else f"{start}    # {where}"
        return Written({RECIPE: launch.recipe, SCRIPT: text}, told)

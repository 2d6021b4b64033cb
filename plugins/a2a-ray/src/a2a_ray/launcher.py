"""The launcher `ray`."""

from __future__ import annotations

from shlex import quote

from a2a_core import option
from a2a_core.launchers import RECIPE, Launch, LauncherConfig, Written
from a2a_ray.driver import shape

ENTRY = "train.py"


class RayLauncher(LauncherConfig):
    """An entry for Ray Train: a worker for each rank, on a Ray cluster that shares a file system.

    Where a worker dies the ranks are started again `backend.max_restarts` times, from the last checkpoint; submitted again, a
    run goes on from there, too. The cluster needs a2a-ray with its extra: `pip install "a2a-ray[ray]"`.
    """

    name = "ray"
    cpus: float = option("CPUs of each rank", default=1.0, gt=0)

    def build(self, launch: Launch) -> Written:
        """See LauncherConfig."""
        shape(launch.backend)
        text = f'''\
"""A run on Ray Train: submit it to a cluster, or run it where Ray runs. Written by `a2a launch`."""

from pathlib import Path

from a2a_ray import main

if __name__ == "__main__":
    main(recipe=Path(__file__).with_name({RECIPE!r}), run=Path({str(launch.run)!r}), cpus={self.cpus!r})
'''
        start = f"ray job submit --working-dir {quote(str(launch.folder))} -- python {ENTRY}"
        return Written({RECIPE: launch.recipe, ENTRY: text}, start)

"""The component kind that hands a run to another engine: what `a2a launch` writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import attrs

from a2a_core.errors import A2AError
from a2a_core.options import Component
from a2a_core.runners import BackendConfig

RECIPE = "recipe.toml"


@attrs.frozen(slots=False)
class Launch:
    """A run that is to be started: by whom, and where, is the launcher's affair.

    How its ranks are spread is what the backend's options say that have these names, RanksBackend's of a2a-accelerate:
    `processes`, `nodes`, `rendezvous`, `max_restarts`, `device`. A backend without them has one rank.
    """

    name: str
    """What the user calls it; any text that a folder can be called."""
    recipe: str
    """The recipe complete, in TOML: overrides are in it, paths are absolute."""
    folder: Path
    """Where the files will lie."""
    run: Path
    """The run's folder, where the run will be; nothing may be there yet."""
    backend: BackendConfig
    paths: Mapping[str, str] = attrs.Factory(dict)
    """Files and folders that the recipe names, by key: `data.train.path`."""

    def asked(self, name: str, default: Any) -> Any:
        """An option of the backend."""
        return getattr(self.backend, name, default)

    @property
    def nodes(self) -> int:
        """Machines."""
        return int(self.asked("nodes", 1))

    @property
    def processes(self) -> int:
        """Ranks on each machine; 0: one for each GPU."""
        return int(self.asked("processes", 1))

    def gpus(self, given: int | None) -> int:
        """GPUs to ask for on each machine: as many as are `given`, else one for each rank, none for the CPU."""
        if given is not None or self.asked("device", "auto") == "cpu":
            return given or 0
        if not self.processes:
            raise A2AError(
                "`backend.processes` = 0 means one rank for each GPU, and nobody knows how many there will be",
                hint="say it with `--with gpus=8`, or `--set backend.processes=8`",
            )
        return self.processes


class Written(NamedTuple):
    """What a launcher writes."""

    files: Mapping[str, str]
    """Name -> text; names of files, without folders."""
    start: str
    """The command that starts it, for the user's shell."""
    notes: Sequence[str] = ()
    """What the user should know."""


class LauncherConfig(Component):
    """What another engine starts a run from: `a2a launch RECIPE --to <name>`; its options are given by `--with`."""

    kind = "launcher"
    elsewhere: ClassVar[bool] = False
    """The run will not see this machine's files: whether the recipe's are there cannot be told here."""

    @abstractmethod
    def build(self, launch: Launch) -> Written:
        """The files, and how to start; A2AError for a run that the engine cannot have."""

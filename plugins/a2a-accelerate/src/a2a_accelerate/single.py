"""The backend `single`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from a2a_core import A2AError, BackendConfig, RunFailed, option

T = TypeVar("T")
SEVERAL = 'one process has none: set `backend.use = "ddp"`, or another backend with several'


class SingleBackend(BackendConfig):
    """This process, on one device."""

    name = "single"
    others = dict.fromkeys(("processes", "nodes", "rendezvous", "max_restarts"), SEVERAL)
    device: Literal["auto", "cpu", "cuda"] = option("where to compute; `auto`: the GPU where there is one", default="auto")
    threads: int = option("CPU threads of torch (0: torch's own choice)", default=0, ge=0)

    def agree(self, what: str, choose: Callable[[], T], about: str = "") -> T:
        """See BackendConfig.agree."""
        alone()
        return super().agree(what, choose, about)

    def setup(self) -> None:
        """See BackendConfig.setup."""
        alone()
        prepare(self.device, self.threads)

    def arguments(self) -> Mapping[str, Any]:
        """See BackendConfig.arguments."""
        return {"use_cpu": on_cpu(self.device)}

    def verify(self, state: Mapping[str, Any]) -> None:
        """See BackendConfig.verify."""
        compare(state, {"world_size": 1, "distributed_type": "NO", "device": "cpu" if on_cpu(self.device) else "cuda"})


def alone() -> None:
    """A2AError where a launcher started several of this process: each would train by itself, in one folder."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        raise A2AError(f"backend `single` was started as {ranks} ranks", hint='set `backend.use = "ddp"`')


def on_cpu(device: str) -> bool:
    """Whether a recipe's `device` is the CPU on this machine."""
    import torch

    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())


def prepare(device: str, threads: int) -> None:
    """Threads and device; A2AError for a GPU that is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise A2AError('`backend.device = "cuda"`, but torch sees no GPU', hint='set `backend.device = "cpu"` or `"auto"`')
    if threads:
        torch.set_num_threads(threads)


def compare(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """What runs against what was asked for; RunFailed names each difference."""
    wrong = [
        f"{key} is {state.get(key)!r}, asked for was {value!r}" for key, value in wanted.items() if state.get(key) != value
    ]
    if wrong:
        raise RunFailed(f"the run is not what the recipe's backend asks for: {'; '.join(wrong)}")

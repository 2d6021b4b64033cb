"""A trainer and a backend for recipes of runs that tests make: nothing is trained."""

from __future__ import annotations

from typing import Any

from a2a_core import BackendConfig, TrainerConfig, hookimpl


class StillTrainer(TrainerConfig):
    """It stays as it is."""

    name = "still"

    def build(self, job: Any) -> Any:
        raise NotImplementedError


class StillBackend(BackendConfig):
    """This process."""

    name = "still"


@hookimpl
def a2a_trainers() -> dict[str, str]:
    return {"still": "still:StillTrainer"}


@hookimpl
def a2a_backends() -> dict[str, str]:
    return {"still": "still:StillBackend"}

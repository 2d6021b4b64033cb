"""Component kinds that run a model rather than make it: trainers, backends, callbacks."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from a2a_core.options import Component
from a2a_core.structures import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from torch.optim import Optimizer
    from transformers import TrainerCallback

    from a2a_core.errors import Problem
    from a2a_core.holding import Holding
    from a2a_core.job import Job, Result
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Recipe

T = TypeVar("T")


class Fit(Protocol):
    """What a trainer builds."""

    def fit(self) -> Result:
        """Train to the end, or to where it was interrupted."""


class TrainerConfig(Component):
    """The run: `[trainer]`."""

    kind = "trainer"
    may_change: ClassVar[frozenset[str]] = frozenset()
    """Options that may be others where a run goes on from a checkpoint, if the user insists (`--force`)."""
    must_stay: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Why another one may not, as far as there is more to say than that the checkpoint was written with it."""

    @abstractmethod
    def build(self, job: Job) -> Fit:
        """The trainer of a job."""

    def misfits(self, recipe: Recipe) -> Iterable[tuple[str, Problem]]:
        """Its keys that do not fit the recipe's other tables, each with why; asked where a recipe is read for a run."""
        return ()

    def refuse(self, recipe: Recipe, model: nn.Module) -> None:
        """A2AError for what it cannot train; runs on the meta device, too."""

    def passes(self, rows: int) -> float:
        """How often it reads each of so many training rows, as far as it knows: features are kept if more than once."""
        return math.inf

    def plan(self) -> Plan:
        """What it holds at once. This, `grouped` and `build_optimizer` are for `a2a check --deep`."""
        return Plan()

    def grouped(self, model: nn.Module) -> Mapping[str, str]:
        """Each trainable parameter's optimizer group, by name; A2AError where groups do not fit the model."""
        return {name: "" for name, parameter in model.named_parameters() if parameter.requires_grad}

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """The optimizer of a model's trainable parameters, whose states are measured; A2AError where it cannot be had."""
        from torch.optim import AdamW

        return AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])


class BackendConfig(Component):
    """Where the ranks live: `[backend]`. Launches them, configures each, and states what must then be true."""

    kind = "backend"

    def misfits(self, recipe: Recipe) -> Iterable[tuple[str, Problem]]:
        """Its keys that do not fit the recipe's other tables, each with why; asked where a recipe is read for a run."""
        return ()

    def refuse(self, recipe: Recipe, model: nn.Module) -> None:
        """A2AError for a model that it cannot carry; runs on the meta device, too."""

    def joined(self) -> bool:
        """This process is a rank already (the only one, or one that torchrun started)."""
        return True

    def agree(self, what: str, choose: Callable[[], T], about: str = "") -> T:
        """What `choose` gives on the first rank, for all of them; its A2AError, too. Every rank asks, and waits for the others.

        Where each of several machines is yet to start its ranks, they agree in the same way. `what` names the question, the
        answer is plain JSON, and A2AError says that `about`, such as a recipe's digest, is not the same on all.
        """
        return choose()

    def notes(self) -> Iterable[str]:
        """What the user should know of how this run is carried out; asked on the first rank, once all are there."""
        return ()

    def launch(self, command: Sequence[str], folder: Path) -> None:
        """Start the ranks, each running `command`, and wait; RunFailed says which rank failed and why."""

    def setup(self) -> None:
        """Prepare this rank before any tensor is made: threads, device, process group."""

    def arguments(self) -> Mapping[str, Any]:
        """What it sets of transformers' TrainingArguments."""
        return {}

    def holding(self, model: A2AModel, accelerator: Any) -> Holding:
        """How it holds the model over the ranks, under accelerate's Accelerator; this one: whole on each."""
        from a2a_core.holding import Holding

        return Holding(model, accelerator)

    def verify(self, state: Mapping[str, Any]) -> None:
        """Compare what runs (`world_size`, `device`, `distributed_type`, `wrapper`) with what was asked for; RunFailed."""

    def teardown(self) -> None:
        """Leave the process group."""


class CallbackConfig(Component):
    """What happens along the way: `[callbacks.<key>]`."""

    kind = "callback"

    @abstractmethod
    def build(self, job: Job) -> TrainerCallback:
        """A transformers callback."""

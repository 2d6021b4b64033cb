"""A model in the hands of DeepSpeed's engine, whole on every rank: stage 0, and what the other stages build on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from a2a_core.holding import Holding
from a2a_deepspeed.engine import Updates, ZeroModel, start, verify


class ZeroHolding(Holding):
    """Stage 0, and what all stages have in common.

    DeepSpeed wants to be told which backward pass is a step's last one. Here none is, until somebody asks for gradients: then
    all are done. What is asked for comes before DeepSpeed's own step, which clips and updates.
    """

    def __init__(self, model: Any, accelerator: Any, settings: Mapping[str, Any]) -> None:
        super().__init__(model, accelerator)
        self.settings = settings
        self.stage = int(settings["zero_optimization"]["stage"])
        self.gathers = self.stage >= 2  # stage 2 exchanges gradients in every backward pass
        self.engine: Any = None
        self.settled = True
        """The gradients are those of the whole step, averaged over the ranks."""
        self.waiting: dict[str, Any] = {}
        """Trainable parameters without a gradient so far, each with the hook that waits for it."""

    def wrap(self) -> bool:
        """See Holding.wrap: done in `begin`, once there is an optimizer; accelerate is to wrap nothing."""
        for parameter in self.model.parameters():
            parameter._replicated_grad_hook_registered = True  # else Trainer averages gradients, too
        return True

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """See Holding.begin."""
        super().begin(wrapped, optimizer)
        inner = optimizer.optimizer
        self.engine = start(wrapped, inner, self.settings)
        verify(self.engine, self.stage, dist.get_world_size())
        optimizer.optimizer = Updates(self.update, inner)
        self.accelerator.backward = self.backward
        self.wrapped = ZeroModel(self.engine, wrapped)
        for name, parameter in self.trainable():
            self.waiting[name] = parameter.register_post_accumulate_grad_hook(lambda _, name=name: self.reach(name))

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """By name."""
        return ((name, each) for name, each in self.model.named_parameters() if each.requires_grad)

    def reach(self, name: str) -> None:
        """A parameter got its first gradient."""
        self.waiting.pop(name).remove()

    # gradients ----------------------------------------------------------------------------------------------------------

    def backward(self, loss: Tensor, **_: Any) -> None:
        """In place of accelerate's: the engine adds up gradients, and from stage 2 on shares them."""
        self.settled = False
        self.engine.set_gradient_accumulation_boundary(False)
        self.engine.backward(loss, scale_wrt_gas=False)

    def settle(self) -> None:
        """All backward passes of this step are done."""
        if self.settled:
            return
        self.settled = True
        self.engine.set_gradient_accumulation_boundary(True)
        self.exchange()

    def exchange(self) -> None:
        """Average, over ranks, the gradients that were added up."""
        self.engine.allreduce_gradients()

    def unreached(self) -> list[str]:
        """See Holding.unreached."""
        return list(self.waiting)

    def unsound(self) -> list[str]:
        """See Holding.unsound."""
        self.settle()
        return super().unsound()

    def drop(self, parameters: Iterable[nn.Parameter]) -> None:
        """See Holding.drop."""
        self.settle()
        super().drop(parameters)

    def norms(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """See Holding.norms."""
        self.settle()
        return super().norms(groups)

    def update(self) -> None:
        """Clip and update. DeepSpeed leaves out a step whose gradient is not finite."""
        self.settle()
        self.engine.step()

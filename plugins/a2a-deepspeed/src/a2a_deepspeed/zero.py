"""The backend `deepspeed`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2a_accelerate import RanksBackend, on_cpu
from a2a_core import A2AError, Problem, option
from a2a_deepspeed.settings import problems, settings

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.holding import Holding
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Recipe

ELEMENTWISE = frozenset({"adamw_torch", "adamw_torch_fused", "rmsprop", "sgd"})
"""Optimizers that do the same to a parameter as to a stretch of several, which is what a rank's share is."""


class DeepSpeedBackend(RanksBackend):
    """DeepSpeed's ZeRO (arXiv 1910.02054): several processes that share what each of them would hold as a whole.

    Stage 1 shares the optimizer's state, 2 gradients, too, 3 weights, too; 0 shares nothing. Training is the same in all of
    them, and their checkpoints are those of every backend. DeepSpeed updates the weights; measuring, checking and clipping
    gradients comes before that, as everywhere. The weights are kept in float32: `trainer.precision` is what is computed in.
    """

    name = "deepspeed"
    stage: int = option("what ranks share: 1 the optimizer's state, 2 gradients, too, 3 weights, too", default=2, ge=0, le=3)
    offload_optimizer: bool = option("keep the optimizer's state on the CPU, and update there", default=False)
    offload_parameters: bool = option("with stage 3: keep weights on the CPU, too, but for the layer at work", default=False)
    config: Path | None = option(
        "DeepSpeed's own JSON, for all that is said nowhere else in the recipe", default=None, exists=True
    )

    def check(self) -> None:
        """Rules over several keys."""
        super().check()
        if self.offload_optimizer and not self.stage:
            raise ValueError("`offload_optimizer` is for the stages 1 to 3")
        if self.offload_parameters and self.stage != 3:
            raise ValueError("`offload_parameters` is for stage 3")

    def misfits(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """See BackendConfig.misfits."""
        yield from super().misfits(recipe)
        trainer: Any = recipe.trainer
        optimizer = getattr(trainer, "optimizer", "adamw_torch")
        if self.stage and optimizer not in ELEMENTWISE:
            told = f"`trainer.optimizer` = {optimizer} looks at parameters one by one, and ZeRO gives it stretches of several"
            yield "stage", Problem(told, hint=f"one of {', '.join(sorted(ELEMENTWISE))}, or `backend.stage = 0`")
        if getattr(trainer, "precision", "") == "fp16":
            told = "`trainer.precision` = fp16 needs a loss scaler, which backend `deepspeed` does not have"
            yield "stage", Problem(told, hint='set `trainer.precision = "bf16"`')
        if getattr(trainer, "compile", False):
            told = "`trainer.compile`: what DeepSpeed hangs on a model's modules cannot be compiled"
            yield "stage", Problem(told, hint="leave it out, or use another backend")
        for problem in problems(self, recipe) if self.config is not None else ():
            yield "config", problem

    def refuse(self, recipe: Recipe, model: nn.Module) -> None:
        """See BackendConfig.refuse."""
        parameters = dict(model.named_parameters())
        bare = [name for name, each in parameters.items() if not each.ndim]
        if bare:
            raise A2AError(
                f"DeepSpeed cannot carry parameters without dimensions: {', '.join(bare[:8])}", hint='`backend.use = "ddp"`'
            )
        half = [name for name, each in parameters.items() if each.requires_grad and each.dtype.itemsize != 4]
        if half:
            raise A2AError(f"DeepSpeed trains parameters in float32 alone, and not {', '.join(half[:8])}", hint="freeze them")

    def setup(self) -> None:
        """See BackendConfig.setup."""
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)  # the recipe decides, not who launched
        if on_cpu(self.device):
            os.environ["DS_ACCELERATOR"] = "cpu"
        super().setup()

    def holding(self, model: A2AModel, accelerator: Any) -> Holding:
        """See BackendConfig.holding."""
        from a2a_deepspeed.holding import ZeroHolding
        from a2a_deepspeed.stages import StretchesHolding, WeightsHolding

        kind = (ZeroHolding, StretchesHolding, StretchesHolding, WeightsHolding)[self.stage]
        return kind(model, accelerator, settings(self, sum(each.numel() for each in model.parameters() if each.requires_grad)))

    def teardown(self) -> None:
        """See BackendConfig.teardown: DeepSpeed holds on to the groups of a process, too."""
        communication: Any = sys.modules.get("deepspeed.comm.comm")
        if communication is not None and communication.cdb is not None:
            communication.destroy_process_group()
            communication.cdb = None
        super().teardown()

    def wanted(self) -> Mapping[str, Any]:
        """See RanksBackend.wanted."""
        return {**super().wanted(), "wrapper": "ZeroModel"}

"""The backend `fsdp`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from a2a_accelerate import RanksBackend, on_cpu
from a2a_core import A2AError, Problem, option

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.holding import Holding
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Recipe

FUSED = "adamw_torch_fused"
OPTIMIZERS = ("adamw_torch", FUSED, "sgd", "rmsprop", "adagrad")
"""Those that compute with shares of parameters as with parameters."""


class FsdpBackend(RanksBackend):
    """Several processes that divide weights, gradients and optimizer state among them (torch's FSDP2, `fully_shard`).

    Each part of the model, and in a part each of its repeated layers, gathers its weights when it computes. The model is built
    whole on every rank before it is divided. Checkpoints are those of every backend.
    """

    name = "fsdp"
    state: Literal["full", "sharded"] = option(
        "weights in checkpoints: one file, which the first rank writes, or each rank's share of them", default="full"
    )
    reshard_after_forward: bool = option(
        "layers give gathered weights up between forward and backward: less memory, more traffic", default=True
    )
    shard_frozen: bool = option("divide frozen parameters, too; whole on each rank, they cost no communication", default=False)
    gather_halves: bool = option(
        "with `trainer.precision` bf16 or fp16: gather weights in it; half the traffic, and norms' weights are rounded, too",
        default=False,
    )
    offload: bool = option("keep shares, gradients and optimizer state in the CPU's memory, and compute on GPUs", default=False)

    def misfits(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """See BackendConfig.misfits."""
        yield from super().misfits(recipe)
        trainer: Any = recipe.trainer
        optimizer, precision = getattr(trainer, "optimizer", OPTIMIZERS[0]), recipe.trainer.plan().precision
        if optimizer not in OPTIMIZERS:
            told = f"`trainer.optimizer` = {optimizer} cannot update parameters that are divided among ranks"
            yield "use", Problem(told, hint=f"one of {', '.join(OPTIMIZERS)}")
        if self.gather_halves and precision == "float32":
            told = "`backend.gather_halves` gathers weights in the precision of the arithmetic, and that is float32"
            yield "gather_halves", Problem(told, hint='leave it out, or set `trainer.precision = "bf16"`')
        if self.offload and self.device == "cpu":
            yield "offload", Problem(NO_GPU, hint="leave it out")
        if self.offload and precision == "fp16":
            told = "`backend.offload` keeps gradients in the CPU's memory, where the loss scaler of fp16 does not look for them"
            yield "offload", Problem(told, hint='leave it out, or set `trainer.precision = "bf16"`')

    def refuse(self, recipe: Recipe, model: nn.Module) -> None:
        """See BackendConfig.refuse."""
        from a2a_fsdp.units import divided

        whole = divided(model, self.shard_frozen).whole
        beside = [name for name, each in model.named_parameters() if each.requires_grad and each in whole]
        listed = f"cannot handle divided parameters and whole ones at once: {', '.join(beside[:8])}"
        if beside and getattr(recipe.trainer, "optimizer", "") == FUSED:
            raise A2AError(f"`trainer.optimizer` = {FUSED} {listed}", hint='set `trainer.optimizer = "adamw_torch"`')
        if beside and recipe.trainer.plan().precision == "fp16":
            raise A2AError(f"the loss scaler of fp16 {listed}", hint='set `trainer.precision = "bf16"`')

    def setup(self) -> None:
        """See BackendConfig.setup."""
        super().setup()
        if self.offload and on_cpu(self.device):
            raise A2AError(NO_GPU, hint="leave it out")

    def holding(self, model: A2AModel, accelerator: Any) -> Holding:
        """See BackendConfig.holding."""
        from a2a_fsdp.holding import FsdpHolding

        return FsdpHolding(self, model, accelerator)

    def wanted(self) -> Mapping[str, Any]:
        """See RanksBackend.wanted; whether every parameter is divided, FsdpHolding.wrap looks for itself."""
        return {**super().wanted(), "wrapper": "FSDPA2AModel"}


NO_GPU = "`backend.offload` keeps in the CPU's memory what a GPU computes with, and ranks compute on the CPU"

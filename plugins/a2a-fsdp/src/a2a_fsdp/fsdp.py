"""The backend `fsdp`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from a2a_accelerate import RanksBackend
from a2a_core import Problem, option

if TYPE_CHECKING:
    from a2a_core.holding import Holding
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Recipe


class FsdpBackend(RanksBackend):
    """Several processes that divide weights, gradients and optimizer state among them (torch's FSDP2, `fully_shard`).

    Each part of the model, and in each part every one of its repeated layers, gathers its weights when it computes. The model
    is built whole on every rank before it is divided. Checkpoints are those of every backend.
    """

    name = "fsdp"
    state: Literal["full", "sharded"] = option(
        "weights in checkpoints: one file, which a rank gathers, or each rank's share of them", default="full"
    )
    reshard_after_forward: bool = option(
        "layers give gathered weights up between forward and backward: less memory, one more exchange", default=True
    )
    shard_frozen: bool = option("divide frozen parameters, too; whole on each rank, they cost no communication", default=False)
    gather_halves: bool = option(
        "with `trainer.precision` bf16 or fp16: gather weights in it, at half the traffic; losses' and norms' weights, too",
        default=False,
    )
    offload: bool = option("keep shares, gradients and optimizer state in the CPU's memory, for GPUs", default=False)

    def misfits(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """See BackendConfig.misfits."""
        yield from super().misfits(recipe)
        precision = getattr(recipe.trainer, "precision", "float32")
        if self.gather_halves and precision == "float32":
            told = "`backend.gather_halves` gathers weights in the precision of the arithmetic, and that is float32"
            yield "gather_halves", Problem(told, hint='leave it out, or set `trainer.precision = "bf16"`')
        if self.offload and self.device == "cpu":
            told = '`backend.offload` keeps in the CPU\'s memory what GPUs compute with, and `backend.device` is "cpu"'
            yield "offload", Problem(told, hint="leave it out")

    def holding(self, model: A2AModel, accelerator: Any) -> Holding:
        """See BackendConfig.holding."""
        from a2a_fsdp.holding import FsdpHolding

        return FsdpHolding(self, model, accelerator)

    def wanted(self) -> Mapping[str, Any]:
        """See RanksBackend.wanted. That the model's parameters are divided is seen where they are: see FsdpHolding.wrap."""
        return {**super().wanted(), "wrapper": "FSDPA2AModel"}

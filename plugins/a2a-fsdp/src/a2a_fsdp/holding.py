"""A model whose weights, gradients and optimizer state are divided among the ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from a2a_accelerate import Buffers
from a2a_core import RunFailed
from a2a_core.holding import Holding, Shapes, first_rank
from a2a_fsdp.units import Units, divided, trained

if TYPE_CHECKING:
    from a2a_core.model import A2AModel
    from a2a_fsdp.fsdp import FsdpBackend

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class FsdpHolding(Holding):
    """FSDP2: a unit's parameters are gathered when it computes; behind it, its gradients are averaged and divided.

    What stays whole and is trained, transformers averages: it does so for every model that is sharded before it comes.
    """

    gathers = True

    def __init__(self, config: FsdpBackend, model: A2AModel, accelerator: Any) -> None:
        super().__init__(model, accelerator)
        self.config = config
        self.sharded = config.state == "sharded"
        self.device: torch.device = accelerator.device
        self.units: dict[Any, None] = {}
        self.buffers: Buffers | None = None

    # sharding -----------------------------------------------------------------------------------------------------------

    def wrap(self) -> bool:
        """See Holding.wrap."""
        found = divided(self.model, self.config.shard_frozen)
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            dist.broadcast(tensor.detach(), 0)  # every rank divides the same weights
        mesh = init_device_mesh(self.device.type, (dist.get_world_size(),))
        for unit in found.modules:
            unit.register_forward_hook(copied)
            fully_shard(
                unit,
                mesh=mesh,
                reshard_after_forward=self.resharded(unit),
                mp_policy=self.precision(trained(unit, found.modules, found.whole)),
                offload_policy=CPUOffloadPolicy() if self.config.offload else OffloadPolicy(),
                ignored_params=found.whole,
            )
        self.units = dict.fromkeys(found.modules)
        self.refuse_whole(found)
        self.buffers = Buffers(self.model)
        root: Any = self.model
        root.no_sync = self.no_sync  # accelerate asks for it while gradients are accumulated
        root._get_fsdp_state()._lazy_init()  # else the first module that computes would take itself for all of the model
        return True

    def precision(self, parameters: Iterable[nn.Parameter]) -> MixedPrecisionPolicy:
        """Of a unit that trains these: autocast does the arithmetic; gradients of half precision are averaged in float32."""
        there = next((each.dtype for each in parameters), None)
        half = HALVES.get(self.accelerator.mixed_precision) if self.config.gather_halves and there == torch.float32 else None
        wide = torch.float32 if half or there in HALVES.values() else None
        return MixedPrecisionPolicy(half, wide, cast_forward_inputs=False)

    def resharded(self, unit: nn.Module) -> bool:
        """Whether a unit gives its weights up between forward and backward; the model needs its own at once, and keeps them."""
        return self.config.reshard_after_forward and unit is not self.model

    def refuse_whole(self, found: Units) -> None:
        """RunFailed unless every parameter that was to be sharded is, over all ranks."""
        for name, parameter in self.model.named_parameters():
            there = parameter.device_mesh.size() if isinstance(parameter, DTensor) else 1
            if there != (1 if parameter in found.whole else dist.get_world_size()):
                raise RunFailed(f"`{name}` was to be sharded over {dist.get_world_size()} ranks, and lies on {there}")

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients are added up whole on each rank, and not exchanged."""
        root: Any = self.model
        root.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            root.set_requires_gradient_sync(True)

    def settle(self) -> None:
        """Every unit back to its shares: a forward pass without a backward leaves some gathered, and state goes by shares."""
        for unit in self.units:
            unit.reshard()

    # gradients ----------------------------------------------------------------------------------------------------------

    def unsound(self) -> list[str]:
        """See Holding.unsound."""
        named = [(name, local(each.grad)) for name, each in self.model.named_parameters() if each.grad is not None]
        bad = torch.tensor([not bool(torch.isfinite(each).all()) for _, each in named], dtype=torch.int, device=self.device)
        dist.all_reduce(bad, dist.ReduceOp.MAX)
        return [name for (name, _), each in zip(named, bad.tolist(), strict=True) if each]

    def norms(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """See Holding.norms. The first that a step asks for, once gradients are there."""
        if self.buffers is not None:
            self.buffers.spread(self.device)
        found = {name: [each.grad for each in several if each.grad is not None] for name, several in groups.items()}
        found = {name: gradients for name, gradients in found.items() if gradients}
        squares = torch.stack([self.square(gradients) for gradients in found.values()])
        dist.all_reduce(squares)
        return dict(zip(found, squares.sqrt().float(), strict=True))

    def square(self, gradients: Sequence[Tensor]) -> Tensor:
        """The squared norm of this rank's shares; what is whole counts on the first rank."""
        shares = [local(each) for each in gradients if isinstance(each, DTensor) or first_rank()]
        return torch.nn.utils.get_total_norm(shares).to(self.device, torch.float64).square()

    def clip(self, parameters: Iterable[nn.Parameter], total: Tensor, most: float) -> None:
        """See Holding.clip; by the formula of torch's `clip_grads_with_norm_`."""
        factor = (most / (total + 1e-6)).clamp(max=1.0)
        shares = [local(each.grad) for each in parameters if each.grad is not None]
        for device in {each.device for each in shares}:
            torch._foreach_mul_([each for each in shares if each.device == device], factor.to(device))

    # weights ------------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """See Holding.weights."""
        self.settle()
        same: dict[int, str] = {}
        named = self.model.named_parameters(remove_duplicate=False)
        tied = {name: same.setdefault(id(each), name) for name, each in named}
        found: dict[str, Tensor] = {}
        for name, each in self.model.state_dict().items():
            if tied.get(name, name) != name:
                whole = found[tied[name]]  # tied tensors stay one
            else:
                whole = each.full_tensor() if isinstance(each, DTensor) else each
            found[name] = whole.cpu() if first_rank() else whole.new_empty(())
        return found if first_rank() else {}

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """See Holding.load_weights."""
        self.settle()
        own = self.model.state_dict()
        super().load_weights({name: like(own.get(name), each) for name, each in state.items()})

    # the optimizer's state ----------------------------------------------------------------------------------------------

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """See Holding.begin."""
        super().begin(wrapped, optimizer)
        for group in self._groups():
            if len({isinstance(each, DTensor) for each in group["params"]}) > 1:
                group["foreach"] = False  # which cannot update both at once

    def state(self) -> dict[str, Any]:
        """See Holding.state."""
        self.settle()
        return super().state()

    def restore(self, there: Shapes, plain: Mapping[str, Any], read: Callable[[dict[str, Tensor]], None]) -> None:
        """See Holding.restore."""
        self.settle()
        super().restore(there, plain, read)


def copied(_: nn.Module, __: Any, output: Any) -> Any:
    """A unit's output, copied where it is a view: written to in place, it would lose what gathers the unit for backward."""
    return tree_map_only(Tensor, lambda each: each.clone() if each.requires_grad and each._is_view() else each, output)


def local(tensor: Tensor) -> Tensor:
    """This rank's share of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(own: Tensor | None, whole: Tensor) -> Tensor:
    """A whole tensor, divided as the model's own is."""
    if not isinstance(own, DTensor):
        return whole
    return distribute_tensor(whole.to(own.device_mesh.device_type), own.device_mesh, own.placements, src_data_rank=None)

"""How a backend holds a model over the ranks: its weights, its gradients, its optimizer's state.

A trainer asks a Holding for what must not depend on the backend: gradients' norms, whole weights, the optimizer's state by
parameter. So every backend has the same checks, and reads the checkpoints of every other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from a2a_core.errors import RunFailed
from a2a_core.ranks import first_rank as first_rank

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from a2a_core.model import A2AModel

Named = TypeVar("Named")
Shapes = Mapping[str, tuple[torch.Size, torch.dtype]]
"""Of saved tensors, by name."""


class Holding:
    """Everything whole on every rank, and gradients equal once data parallelism has averaged them.

    Backends that shard override what differs. Names are those of the model's parameters, whatever wraps it. Every method is
    called on all ranks alike.
    """

    gathers: bool = False
    """Forward passes gather weights from other ranks: every rank has to run as many of them."""
    sharded: bool = False
    """Checkpoints get each rank's share of the weights, from `model.state_dict()`, in place of one whole file."""

    def __init__(self, model: A2AModel, accelerator: Any) -> None:
        self.model, self.accelerator = model, accelerator
        self.wrapped: nn.Module = model
        self.optimizer: Optimizer | None = None

    def wrap(self) -> bool:
        """Shard the model in place, before its optimizer is made; False leaves it whole, or to accelerate."""
        return False

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """All is wrapped: before `restore`, and before the first step. `self.wrapped` is what training calls from then on."""
        self.wrapped, self.optimizer = wrapped, optimizer

    # gradients, between backward and the optimizer's step ---------------------------------------------------------------

    def unreached(self) -> list[str]:
        """Trainable parameters that backward gave no gradient."""
        return [name for name, each in self.model.named_parameters() if each.requires_grad and each.grad is None]

    def unsound(self) -> list[str]:
        """Parameters whose gradient has a NaN or an infinity."""
        found = ((name, each.grad) for name, each in self.model.named_parameters() if each.grad is not None)
        return [name for name, gradient in found if not bool(torch.isfinite(gradient).all())]

    def drop(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take their gradient away: no update, no optimizer state, no share of the norm."""
        for parameter in parameters:
            parameter.grad = None

    def norms(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """The norm of each group's gradients, over all ranks' shares; groups without any gradient are left out."""
        found = {name: [each.grad for each in several if each.grad is not None] for name, several in groups.items()}
        return {name: torch.nn.utils.get_total_norm(gradients) for name, gradients in found.items() if gradients}

    def clip(self, parameters: Iterable[nn.Parameter], total: Tensor, most: float) -> None:
        """Scale gradients whose norm is `total` to a norm of `most`."""
        torch.nn.utils.clip_grads_with_norm_([each for each in parameters if each.grad is not None], most, total)

    # weights ------------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """The model's state, whole and on the CPU, on the first rank; nothing on the others. It may be the model's own."""
        if not first_rank():
            return {}
        moved: dict[Any, Tensor] = {}  # tied tensors stay one
        return {name: moved.setdefault(place(each), each.cpu()) for name, each in self.model.state_dict().items()}

    def load_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take over whole tensors, which every rank has."""
        self._refuse_others(state)
        self.model.load_state_dict(state, strict=False)

    def _refuse_others(self, state: Mapping[str, Tensor]) -> None:
        own = self.model.state_dict()
        missing = sorted(own.keys() - state.keys() - set(self.model.all_tied_weights_keys))
        left = sorted(state.keys() - own.keys())
        if missing or left:
            raise RunFailed(f"the checkpoint's weights are not this model's: missing {missing[:5]}, left over {left[:5]}")

    # the optimizer's state ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """The optimizer's state as `<parameter>.<key>`: DTensors where they are sharded; what is whole, on one rank alone."""
        found = {f"{name}.{key}": value for name, held in self._held() for key, value in held.items()}
        return {name: value for name, value in found.items() if first_rank() or isinstance(value, DTensor)}

    def _held(self) -> Iterator[tuple[str, dict[str, Any]]]:
        assert self.optimizer is not None
        for name, parameter in self.model.named_parameters():
            held = self.optimizer.state.get(parameter)
            if held:
                yield name, held

    def restore(self, there: Shapes, plain: Mapping[str, Any], read: Callable[[dict[str, Tensor]], None]) -> None:
        """Put saved state back: `read` fills tensors of what is `there`; `plain` is what is no tensor."""
        made: dict[str, Tensor] = {}
        parameters = dict(self.model.named_parameters())
        settings = {id(each): group for group in self._groups() for each in group["params"]}
        for full, (shape, dtype) in there.items():
            name, _, key = full.rpartition(".")
            parameter = self._known(name, parameters)
            group = settings.get(id(parameter), {})
            made[full] = empty(parameter, key, shape, dtype, bool(group.get("fused") or group.get("capturable")))
        read(made)
        for full, value in (made | dict(plain)).items():
            name, _, key = full.rpartition(".")
            self._keep(self._known(name, parameters), key, value)

    def _groups(self) -> list[dict[str, Any]]:
        assert self.optimizer is not None
        return self.optimizer.param_groups

    def _keep(self, parameter: nn.Parameter, key: str, value: Any) -> None:
        assert self.optimizer is not None
        self.optimizer.state.setdefault(parameter, {})[key] = value

    def _known(self, name: str, parameters: Mapping[str, Named]) -> Named:
        if name not in parameters:
            raise RunFailed(f"the checkpoint has optimizer state of `{name}`, which this model does not have")
        return parameters[name]


def place(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies, and as what."""
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def empty(parameter: nn.Parameter, key: str, shape: torch.Size, dtype: torch.dtype, device_steps: bool) -> Tensor:
    """A tensor for saved state: sharded like its parameter where it has its shape, else whole; steps are counted on the CPU."""
    if shape == parameter.shape and len(shape):
        return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
    there = torch.device("cpu") if key == "step" and not device_steps else parameter.device
    return torch.zeros(shape, dtype=dtype, device=there)

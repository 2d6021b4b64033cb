"""What ranks share under ZeRO: each has a stretch of what the parameters of an optimizer's group are, put one behind the other.

The optimizer knows such flat stretches alone. Here they are taken apart again, into the parameters' own names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from a2a_core import A2AError, RunFailed
from a2a_core.holding import Shapes
from a2a_deepspeed.holding import ZeroHolding

AT_ONCE = 2**30
"""Bytes of saved state that a rank reads before it keeps its share of them."""


class Share(NamedTuple):
    """Where this rank's part of a parameter lies."""

    flat: Tensor
    """What the optimizer takes for a parameter."""
    at: int
    """The part's first element in `flat`."""
    first: int
    """The part's first element in the parameter."""
    size: int
    """Of the part; 0 where all of the parameter is on other ranks."""


class SharedHolding(ZeroHolding):
    """Stages 1 to 3; subclasses know where DeepSpeed keeps what."""

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """See Holding.begin."""
        super().begin(wrapped, optimizer)
        self.zero: Any = self.engine.optimizer
        self.numels = {name: self.numel(each) for name, each in self.trainable()}
        self.shares = {name: self.share(each) for name, each in self.trainable()}
        self.dropped: set[int] = set()
        """Flat parameters that this step does not update."""
        self.refuse_torn()
        inner = optimizer.optimizer.optimizer
        inner.register_step_pre_hook(self.leave_out)
        inner.register_step_post_hook(self.take_back)
        self.left_out: list[tuple[Tensor, Tensor | None]] = []

    @abstractmethod
    def share(self, parameter: nn.Parameter) -> Share:
        """This rank's part of a trainable parameter."""

    @abstractmethod
    def gradient(self, parameter: nn.Parameter) -> Tensor | None:
        """This rank's part of its gradient, flat; None where it has none."""

    @abstractmethod
    def clear(self, parameter: nn.Parameter) -> None:
        """Make this rank's part of its gradient 0, and what DeepSpeed has measured of it."""

    def numel(self, parameter: nn.Parameter) -> int:
        """Elements of the whole parameter."""
        return parameter.numel()

    # gradients ----------------------------------------------------------------------------------------------------------

    def unsound(self) -> list[str]:
        """See Holding.unsound."""
        self.settle()
        parts = [self.gradient(each) for _, each in self.trainable()]
        found = torch.tensor([part is not None and not bool(torch.isfinite(part).all()) for part in parts], dtype=torch.int32)
        found = found.to(self.accelerator.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [name for (name, _), bad in zip(self.trainable(), found.tolist(), strict=True) if bad]

    def drop(self, parameters: Iterable[nn.Parameter]) -> None:
        """See Holding.drop: `refuse_torn` has seen that it is the whole of every flat parameter."""
        self.settle()
        names = {id(each): name for name, each in self.trainable()}
        for parameter in parameters:
            self.clear(parameter)
            self.dropped.add(id(self.shares[names[id(parameter)]].flat))

    def norms(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """See Holding.norms."""
        self.settle()
        names = {id(each): name for name, each in self.trainable()}
        trained = {
            group: [each for each in several if id(self.shares[names[id(each)]].flat) not in self.dropped]
            for group, several in groups.items()
        }
        squares = torch.stack([self.square(several) for several in trained.values()])
        dist.all_reduce(squares)
        return {group: each.sqrt() for (group, several), each in zip(trained.items(), squares, strict=True) if several}

    def square(self, parameters: Iterable[nn.Parameter]) -> Tensor:
        """Of the norm of this rank's parts of their gradients."""
        parts = [part for each in parameters if (part := self.gradient(each)) is not None]
        total = torch.nn.utils.get_total_norm(parts) if parts else torch.zeros(())
        return total.float().to(self.accelerator.device).square()

    def clip(self, parameters: Iterable[nn.Parameter], total: Tensor, most: float) -> None:
        """See Holding.clip: DeepSpeed does so in its step."""
        self.zero.clip_grad = most

    def update(self) -> None:
        """See ZeroHolding.update."""
        super().update()
        self.zero.clip_grad = 0.0
        self.dropped.clear()

    def leave_out(self, optimizer: Any, *_: Any) -> None:
        """To torch's optimizer, what was dropped has no gradient: it is neither decayed nor counted."""
        flats = [each for group in optimizer.param_groups for each in group["params"] if id(each) in self.dropped]
        self.left_out = [(each, each.grad) for each in flats]
        for each in flats:
            each.grad = None

    def take_back(self, *_: Any) -> None:
        """DeepSpeed's buffers are where they were."""
        for each, gradient in self.left_out:
            each.grad = gradient
        self.left_out = []

    def refuse_torn(self) -> None:
        """What is trained later has to be all of a flat parameter: it is one thing to the optimizer."""
        later: dict[int, dict[float, str]] = {}
        for name, share in self.shares.items():
            later.setdefault(id(share.flat), {}).setdefault(self.model.thaws.get(name, 0.0), name)
        for untils in later.values():
            if len(untils) > 1:
                names = " and ".join(f"`{name}`" for name in list(untils.values())[:2])
                told = f"ZeRO updates {names} as one, and they are frozen until different steps"
                raise A2AError(told, hint="give what is trained later a group of its own in [[trainer.groups]]")

    # the optimizer's state ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """See Holding.state: each parameter's is put together on one rank, each rank its turn."""
        assert self.optimizer is not None
        found: dict[str, Any] = {}
        shapes = self.shapes()
        for number, (name, share) in enumerate(self.shares.items()):
            owner = number % dist.get_world_size()
            for key, value in self.optimizer.state.get(share.flat, {}).items():
                whole = value
                if isinstance(value, Tensor) and value.shape == share.flat.shape:
                    whole = self.together(share, value, self.numels[name], owner).view(shapes[name])
                if dist.get_rank() == owner:
                    found[f"{name}.{key}"] = whole.cpu() if isinstance(whole, Tensor) else whole
        return found

    def shapes(self) -> dict[str, torch.Size]:
        """Of whole parameters."""
        return {name: each.shape for name, each in self.trainable()}

    def together(self, share: Share, value: Tensor, numel: int, owner: int) -> Tensor:
        """A whole parameter's, flat, on the rank `owner`."""
        whole = torch.zeros(numel, dtype=value.dtype, device=self.accelerator.device)
        whole[share.first : share.first + share.size] = value[share.at : share.at + share.size]
        dist.reduce(whole, owner)
        return whole

    def restore(self, there: Shapes, plain: Mapping[str, Any], read: Callable[[dict[str, Tensor]], None]) -> None:
        """See Holding.restore."""
        kept: set[str] = set()
        for several in batches(there):
            made = {full: torch.zeros(there[full][0], dtype=there[full][1]) for full in several}
            read(made)
            for full, value in made.items():
                kept.add(self.keep(full, value))
        for full, value in plain.items():
            kept.add(self.keep(full, value))
        flats = {id(self.shares[name].flat): name for name in kept}
        for name, share in self.shares.items():
            if name not in kept and id(share.flat) in flats:
                told = f"the checkpoint has optimizer state of `{flats[id(share.flat)]}` and none of `{name}`"
                raise RunFailed(
                    f"{told}, and ZeRO updates both as one", hint="give them groups of their own in [[trainer.groups]]"
                )

    def keep(self, full: str, value: Any) -> str:
        """This rank's share of a saved value; returns whose it is."""
        assert self.optimizer is not None
        name, _, key = full.rpartition(".")
        self._known(name, self.shares)
        flat, at, first, size = self.shares[name]
        held = self.optimizer.state[flat]
        if isinstance(value, Tensor) and value.ndim and value.numel() == self.numels[name]:
            if key not in held:
                held[key] = torch.zeros_like(flat, dtype=value.dtype, requires_grad=False)
            held[key][at : at + size] = value.flatten()[first : first + size]
        elif key not in held:
            group = self.optimizer.param_groups[0]
            there = flat.device if group.get("fused") or group.get("capturable") else "cpu"
            held[key] = value.to(there) if isinstance(value, Tensor) else value
        elif bool(held[key] != value):
            told = f"`{name}` was trained for another number of steps than what ZeRO updates with it as one"
            raise RunFailed(told, hint="go on with the backend that the checkpoint was written by")
        return name


def batches(there: Shapes) -> Iterator[list[str]]:
    """Names of tensors that may be in memory at once."""
    several: list[str] = []
    size = 0
    for name, (shape, dtype) in there.items():
        several.append(name)
        size += shape.numel() * dtype.itemsize
        if size > AT_ONCE:
            yield several
            several, size = [], 0
    if several:
        yield several

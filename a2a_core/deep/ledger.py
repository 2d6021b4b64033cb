"""Every storage that lives and every product that is computed, operation by operation.

Works on fake tensors, which have shapes but no values, as on real ones.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

DEVICE = torch.ops.prim.device.default


class Peaks(NamedTuple):
    """The most bytes that ever lived beside weights and inputs."""

    activations: int = 0
    """Gradients of parameters aside; autocast's copies of weights are activations."""
    first: int = 0
    """With gradients, which in a step's first backward pass are made while activations go."""

    @classmethod
    def of(cls, moments: Tensor) -> Self:
        """Of all that lived, and of gradients among it (N, 2), after each thing that was made."""
        if not len(moments):
            return cls()
        live, gradients = moments.unbind(1)
        return cls(*(max(0, round(float(each.max()))) for each in (live - gradients, live)))


class Ledger(TorchDispatchMode):
    """Keeps the books while it is entered. `held` are the tensors that were there before: they are not counted."""

    def __init__(self, weights: Iterable[Tensor], inputs: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = {key(tensor) for tensor in weights}
        self.held = self.weights | {key(tensor) for tensor in inputs}
        self.live = self.gradients = 0
        self._moments: list[tuple[int, int]] = []
        self.flops: dict[tuple[str, bool], int] = defaultdict(int)
        """(part, in backward) -> floating point operations of matrix products, convolutions and attention."""
        self.part, self.backward = "", False
        self._formulas = {**FlopCounterMode(display=False).flop_registry, **ATTENTION_ON_CPU}
        self._known: dict[int, tuple[bool, int, Any]] = {}
        """Whether it is a gradient, its bytes, and what tells when it goes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled: torch's wrapper against it costs as much as the books."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Let it happen, and write down what came of it."""
        if func is DEVICE:  # autograd asks every fake tensor where it is: two calls of three
            return args[0].device
        given = kwargs or {}
        made = func(*args, **given)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops[self.part, self.backward] += int(formula(*args, **given, out_val=made))
        for tensor in (made,) if isinstance(made, Tensor) else tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        return made

    @property
    def moments(self) -> Tensor:
        """Bytes that lived after each thing that was made (N, 2): all, and gradients among them.

        Ask when no mode of fake tensors is on: these numbers are real.
        """
        return torch.tensor(self._moments, dtype=torch.float64).view(-1, 2)  # whole numbers up to 2**53

    @property
    def peaks(self) -> Peaks:
        """The most so far."""
        return Peaks.of(self.moments)

    def accumulated(self, parameter: nn.Parameter) -> None:
        """A hook for after a gradient was accumulated: from now on it is one, and no activation."""
        name = key(parameter.grad) if parameter.grad is not None else 0
        known, size, reference = self._known.get(name, (False, 0, None))
        if reference is not None and not known:
            self._known[name] = (True, size, reference)
            self.gradients += size

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name in self.held or name in self._known or not size:
            return
        self._known[name] = (False, size, weakref.ref(storage, partial(self._freed, name)))
        self.live += size
        self._moments.append((self.live, self.gradients))

    def _freed(self, name: int, _: Any) -> None:
        gradient, size, _ = self._known.pop(name)
        self.live -= size
        self.gradients -= size if gradient else 0


def key(tensor: Tensor) -> int:
    """A tensor's storage: views share it."""
    return int(tensor.untyped_storage()._cdata)


def attention(query: Tensor, k: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Of attention forward on the CPU, which torch's own table lacks."""
    return int(sdpa_flop_count(query.shape, k.shape, value.shape))


def attention_backward(grad: Tensor, query: Tensor, k: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Of attention backward on the CPU."""
    return int(sdpa_backward_flop_count(grad.shape, query.shape, k.shape, value.shape))


ATTENTION_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}

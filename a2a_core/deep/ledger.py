"""Every storage that lives and every product that is computed, operation by operation.

Works on fake tensors, which have shapes but no values, as on real ones.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

CASTS = torch.ops.aten._to_copy.default


class Peaks:
    """Bytes that live beside weights and inputs, and the most there ever were."""

    def __init__(self) -> None:
        self.live = self.gradients = self.casts = 0
        self.activations = self.activations_without_casts = 0
        """The most that lived, gradients of parameters aside; and without autocast's copies of weights."""
        self.first = self.first_without_casts = 0
        """The same with gradients, which in a step's first backward pass are made while activations go."""

    def measure(self) -> None:
        """After something was made."""
        self.first = max(self.first, self.live)
        self.first_without_casts = max(self.first_without_casts, self.live - self.casts)
        self.activations = max(self.activations, self.live - self.gradients)
        self.activations_without_casts = max(self.activations_without_casts, self.live - self.gradients - self.casts)


class Ledger(TorchDispatchMode):
    """Keeps the books while it is entered. `held` are the tensors that were there before: they are not counted."""

    def __init__(self, weights: Iterable[Tensor], inputs: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = {key(tensor) for tensor in weights}
        self.held = self.weights | {key(tensor) for tensor in inputs}
        self.peaks = Peaks()
        self.flops: dict[tuple[str, bool], int] = defaultdict(int)
        """(part, in backward) -> floating point operations of matrix products, convolutions and attention."""
        self.part, self.backward = "", False
        self._formulas = {**FlopCounterMode(display=False).flop_registry, **ATTENTION_ON_CPU}
        self._known: dict[int, tuple[str, int, Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Let it happen, and write down what came of it."""
        given = kwargs or {}
        made = func(*args, **given)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops[self.part, self.backward] += int(formula(*args, **given, out_val=made))
        kind = "casts" if func is CASTS and key(args[0]) in self.weights else ""
        for tensor in (made,) if isinstance(made, Tensor) else tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor, kind)
        return made

    def accumulated(self, parameter: nn.Parameter) -> None:
        """A hook for after a gradient was accumulated: from now on it is one, and no activation."""
        name = key(parameter.grad) if parameter.grad is not None else 0
        kind, size, reference = self._known.get(name, ("", 0, None))
        if reference is not None and not kind:
            self._known[name] = ("gradients", size, reference)
            self.peaks.gradients += size

    def _add(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name in self.held or name in self._known or not size:
            return
        self._known[name] = (kind, size, weakref.ref(storage, partial(self._freed, name)))
        self.peaks.live += size
        self.peaks.casts += size if kind else 0
        self.peaks.measure()

    def _freed(self, name: int, _: Any) -> None:
        kind, size, _ = self._known.pop(name)
        self.peaks.live -= size
        if kind:
            setattr(self.peaks, kind, getattr(self.peaks, kind) - size)


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

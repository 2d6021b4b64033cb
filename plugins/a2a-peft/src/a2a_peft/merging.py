"""Low-rank updates taken into the weights beside which they stand, or out of a model altogether."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from a2a_core.errors import RunFailed


def take_in(part: nn.Module) -> None:
    """W + alpha / r B A in place of W; RunFailed where that is no number."""
    unpack(part)
    for name, layer in updated(part).items():
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise RunFailed(f"`{name}`: {error}") from None
    take_out(part)


def take_out(part: nn.Module) -> None:
    """The layers without what stands beside them."""
    for name, layer in updated(part).items():
        part.set_submodule(name, layer.get_base_layer())
    for module in part.modules():
        if hasattr(module, "peft_config"):
            del module.peft_config


def updated(part: nn.Module) -> dict[str, Any]:
    """The layers that have updates, by their names in the part."""
    return {name: module for name, module in part.named_modules() if isinstance(module, BaseTunerLayer)}


def unpack(part: nn.Module) -> None:
    """Layers whose weights are packed in four bits as plain ones in float32."""
    for name, module in list(part.named_modules()):
        packed: Any = module
        if hasattr(packed, "weight_as"):
            with torch.device("meta"):
                plain = nn.Linear(packed.in_features, packed.out_features, bias=False)
            plain.weight = nn.Parameter(packed.weight_as(torch.float32), requires_grad=False)
            plain.bias = packed.bias
            part.set_submodule(name, plain)

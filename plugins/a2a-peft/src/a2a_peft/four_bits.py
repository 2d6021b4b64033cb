"""Linear layers in NF4, as plain buffers: they are saved, loaded and counted as any other tensor."""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_peft.lora_model import output_layer
from a2a_peft.patterns import part_of
from a2a_peft.qlora import QloraAdapter


def bitsandbytes() -> Any:
    """Asked for late: models on the meta device need it not, and transformers would import it in every run."""
    try:
        return importlib.import_module("bitsandbytes")
    except ImportError as error:
        raise A2AError("the adapter `qlora` needs bitsandbytes", hint='pip install "a2a-peft[qlora]"') from error


def quantise(config: QloraAdapter, model: nn.Module) -> None:
    """See QloraAdapter.apply."""
    part = part_of(model, config.part)
    outputs = {id(module) for module in map(output_layer, part.modules()) if module is not None}
    for module in list(part.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and not child.weight.requires_grad and id(child) not in outputs:
                setattr(module, name, Nf4Linear(child, config.block_size))


class Nf4Linear(nn.Module):
    """A frozen linear layer, (..., in) -> (..., out); two weights a byte, row by row."""

    def __init__(self, linear: nn.Linear, block_size: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.block_size = linear.in_features, linear.out_features, block_size
        weight = linear.weight.detach()
        if weight.is_meta:
            packed = torch.empty((weight.numel() + 1) // 2, 1, dtype=torch.uint8, device="meta")
            scales = torch.empty(math.ceil(weight.numel() / block_size), device="meta")
        else:
            packed, state = bitsandbytes().functional.quantize_4bit(
                weight.float().contiguous(), blocksize=block_size, quant_type="nf4"
            )
            scales = state.absmax
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)
        self.bias = linear.bias

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        """The weights (out, in), unpacked."""
        bitsandbytes()  # brings the operation
        shape = [self.out_features, self.in_features]
        unpack: Any = torch.ops.bitsandbytes.dequantize_4bit.default
        return unpack(self.packed, self.scales, self.block_size, "nf4", shape, dtype)  # type: ignore[no-any-return]

    def forward(self, values: Tensor) -> Tensor:
        """Under autocast in its precision."""
        device = values.device.type
        if torch.is_autocast_enabled(device):
            values = values.to(torch.get_autocast_dtype(device))
        product: Tensor = Product.apply(values, self)
        return product if self.bias is None else product + self.bias.to(product.dtype)


class Product(torch.autograd.Function):
    """values W^T; W is unpacked again in backward, and so never kept."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, layer: Nf4Linear) -> Tensor:  # type: ignore[override]
        """(..., in) -> (..., out)."""
        ctx.layer = layer
        return F.linear(values, layer.weight_as(values.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Weights get none."""
        return gradients[0] @ ctx.layer.weight_as(gradients[0].dtype), None

"""Low-rank layers, by peft."""

from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

from a2a_core.aliases import spoken
from a2a_core.errors import A2AError
from a2a_peft.lora import LoraAdapter
from a2a_peft.new_rows import ROWS
from a2a_peft.patterns import chosen, part_of


def put_in(config: LoraAdapter, model: nn.Module) -> None:
    """See LoraAdapter.apply."""
    part = part_of(model, config.part)
    if any(hasattr(module, "peft_config") for module in part.modules()):
        raise A2AError(f"two adapters `lora` change `{config.part}`", hint="give one of them all `targets`")
    if any(hasattr(module, ROWS) for module in part.modules()):
        raise A2AError(
            f"`{config.name}` would freeze the new tokens of the adapter `embeddings`", hint="put `embeddings` behind it"
        )
    targets = linear_layers(config, part)
    modules = spoken(part, (name for name, _ in part.named_modules() if name))
    kept = chosen(config.modules_to_save, modules, f"module of `{config.part}`")
    inject_adapter_in_model(
        LoraConfig(
            r=config.r,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            use_rslora=config.rslora,
            use_dora=config.dora,
            target_modules=targets,
            fan_in_fan_out=any(isinstance(part.get_submodule(name), Conv1D) for name in targets),  # GPT-2 keeps W transposed
        ),
        part,
    )
    for name in kept:
        part.get_submodule(name).requires_grad_(True)
    for module in part.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # outside of training torch's fused kernel would take the bare weights


def linear_layers(config: LoraAdapter, part: nn.Module) -> list[str]:
    """The names of the layers to update."""
    linear = {
        name: module
        for name, module in part.named_modules()
        if name and isinstance(module, (nn.Linear, Conv1D)) and not isinstance(module, NonDynamicallyQuantizableLinear)
    }  # that one is nn.MultiheadAttention's, which takes its weights and never calls it
    if not linear:
        raise A2AError(f"`{config.part}` has no linear layer", hint="name the part that holds them")
    if config.targets != "all-linear":
        return chosen(config.targets, spoken(part, linear), f"linear layer of `{config.part}`")
    outputs = {id(module) for module in map(output_layer, part.modules()) if module is not None}
    found = [name for name, module in linear.items() if id(module) not in outputs and module.weight.requires_grad]
    if not found:
        raise A2AError(f"all linear layers of `{config.part}` are frozen")
    return found


def output_layer(module: nn.Module) -> nn.Module | None:
    """A language model's last layer: it is as large as the vocabulary, and often the input embeddings, too."""
    asked = getattr(module, "get_output_embeddings", None)
    found = asked() if asked is not None else None
    return found if isinstance(found, nn.Module) else None

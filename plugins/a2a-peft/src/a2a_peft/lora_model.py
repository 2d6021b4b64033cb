"""Low-rank layers, by peft."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

from a2a_core.aliases import spoken
from a2a_core.errors import A2AError, Problem
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
    refuse_tied(config, model, part, targets)
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
    for one, other in tied(part):
        if one.requires_grad or other.requires_grad:
            one.requires_grad = other.requires_grad = True  # either may be the one that stays when they are tied
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


def refuse_tied(config: LoraAdapter, model: nn.Module, part: nn.Module, targets: Iterable[str]) -> None:
    """A2AError for layers whose weight is another module's, too: merged, an update of the one would change the other."""
    owners = Counter(id(each) for module in model.modules() for each in module.parameters(recurse=False))
    shared = {id(each) for pair in tied(model) for each in pair} | {each for each, times in owners.items() if times > 1}
    problems = [
        Problem(
            f"`{config.name}` would update `{name}` of `{config.part}`, whose weight is also that of another module (often, "
            "an output layer's is the input embeddings')",
            hint="leave it out of `targets`; in `modules_to_save` it is trained whole, for both",
        )
        for name in targets
        if id(part.get_submodule(name).weight) in shared
    ]
    if problems:
        raise A2AError(problems)


def tied(model: nn.Module) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """Weights that are one, or will be: on the meta device models of transformers share nothing yet, and say so by name."""
    for module in model.modules():
        names: Any = getattr(module, "all_tied_weights_keys", None)
        named = dict(module.named_parameters(remove_duplicate=False)) if names else {}
        yield from ((named[one], named[other]) for one, other in (names or {}).items() if {one, other} <= named.keys())


def output_layer(module: nn.Module) -> nn.Module | None:
    """A language model's last layer: it is as large as the vocabulary, and often the input embeddings, too."""
    asked = getattr(module, "get_output_embeddings", None)
    found = asked() if asked is not None else None
    return found if isinstance(found, nn.Module) else None

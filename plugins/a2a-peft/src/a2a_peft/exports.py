"""The format `adapter`: low-rank updates alone, as peft saves and opens them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from a2a_core.aliases import place
from a2a_core.export import Exporter, refuse_other
from a2a_core.formats import example, furthest, outputs
from a2a_core.model import A2AModel
from a2a_core.pretrained.weights import quiet
from a2a_peft.lora import LoraAdapter
from a2a_peft.merging import take_out, unpack, updated
from a2a_peft.patterns import part_of

PREFIX = "base_model.model."
"""What peft puts before a model's names."""


class AdapterExport(Exporter):
    """The updates of one model of transformers; the model that they stand in, too, where no directory holds it."""

    merged = False

    def __init__(self, config: LoraAdapter, model: A2AModel) -> None:
        self.config, self.model = config, model
        self.name = base_of(model, config.part)
        self.notes: tuple[str, ...] = ()
        kind = type(model.get_submodule(self.name)).__name__ if self.name else "model"
        self.opens = f"peft: PeftModel.from_pretrained(…), on the {kind} that was trained"

    def misfit(self) -> str:
        """peft's file holds the low-rank updates of one model."""
        several = [each.part for each in self.model.parts.adapters if isinstance(each, LoraAdapter)]
        if len(several) > 1:
            return f"updates stand in several parts ({', '.join(several)}), and an adapter of peft is one model's"
        if not self.name:
            return f"`{self.config.part}` is no model of transformers"
        whole = [name for name in trained(self.model) if name.startswith(f"{self.name}.") and "lora_" not in name]
        return f"`{whole[0]}` was trained, too, which it does not hold" if whole else ""

    def beside(self) -> Sequence[str]:
        """What was trained in other parts."""
        outside = [name for name in trained(self.model) if not name.startswith(f"{self.name}.")]
        return list(dict.fromkeys(".".join(name.split(".")[: 1 if name.startswith("fusion.") else 2]) for name in outside))

    def write(self, folder: Path) -> None:
        """adapter_model.safetensors and adapter_config.json, and `base` where the model is saved nowhere."""
        with quieter():
            wrapped: Any = PeftModel(self.base(), self.settings())
        wrapped.load_state_dict({PREFIX + name: tensor for name, tensor in self.updates().items()}, strict=False)
        wrapped.save_pretrained(folder, save_embedding_layers=False)
        if self.source() is None:
            with quiet():
                self.base().save_pretrained(folder / "base")
            self.notes = ("`base` holds the model that it changes: no directory has these weights",)

    def compare(self, folder: Path) -> float:
        """peft's own loading, on the model without updates; then in the place of ours."""
        with quieter():
            again: Any = PeftModel.from_pretrained(self.base(), folder)
        found = {name.removeprefix(PREFIX): tensor for name, tensor in again.state_dict().items() if "lora_" in name}
        refuse_other(self.updates(), found, folder)
        inputs = example(self.model)
        wanted = outputs(self.model, inputs)
        with standing_in(self.model, self.name, again.base_model.model.eval()):
            return furthest(outputs(self.model, inputs), wanted)

    def base(self) -> Any:
        """A copy of the model without updates."""
        made = copy.deepcopy(self.model.get_submodule(self.name))
        unpack(made)
        take_out(made)
        return made

    def updates(self) -> dict[str, Tensor]:
        """Every tensor of them, by its name in the model."""
        state = self.model.get_submodule(self.name).state_dict()
        return {name: tensor for name, tensor in state.items() if "lora_" in name}

    def settings(self) -> Any:
        """peft's configuration, of names in the model in place of those in the part."""
        part = part_of(self.model, self.config.part)
        holder: Any = next(each for each in part.modules() if hasattr(each, "peft_config"))
        found = copy.deepcopy(holder.peft_config["default"])
        base: Any = self.model.get_submodule(self.name)
        found.target_modules = set(updated(base))
        found.task_type = "CAUSAL_LM" if type(base).__name__.endswith("ForCausalLM") else None
        found.base_model_name_or_path = self.source()
        return found

    def source(self) -> str | None:
        """The directory that the model came from; None where it holds other weights, or is gone."""
        kind, _, rest = self.name.partition(".")
        parts, key = self.model.parts, rest.partition(".")[0]
        config: Any = parts.fusion if kind == "fusion" else parts.encoders.get(key)
        path = getattr(config, "path", None)
        if path is None or not path.exists():
            return None
        encoders = dict[str, Any](self.model.encoders.items())
        widths = {name: int(module.width) for name, module in encoders.items()}
        fresh = config.build(widths) if kind == "fusion" else config.build()
        config.load(fresh)
        whole = f"encoders.{key}" if kind == "encoders" else kind
        original = fresh.get_submodule(self.name.removeprefix(whole).removeprefix(".")).state_dict()
        packed = any(hasattr(each, "weight_as") for each in self.model.get_submodule(self.name).modules())
        own = self.base().state_dict()
        return str(path) if packed or all(torch.equal(own[name], tensor) for name, tensor in original.items()) else None


def trained(model: nn.Module) -> list[str]:
    """What was trained, the losses' own parameters left out."""
    return [name for name, each in model.named_parameters() if each.requires_grad and not name.startswith("losses.")]


def base_of(model: nn.Module, part: str) -> str:
    """The outermost model of transformers around a part's updates, by name; empty where there is none."""
    layers = [f"{place(model, part)}.{name}" for name in updated(part_of(model, part))]
    around = [
        name
        for name, module in model.named_modules()
        if name and isinstance(module, PreTrainedModel) and all(layer.startswith(f"{name}.") for layer in layers)
    ]
    return min(around, key=len, default="")


@contextmanager
def quieter() -> Iterator[None]:
    """Without the warning that peft asks transformers for the old name of something."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing", FutureWarning)
        yield


@contextmanager
def standing_in(model: nn.Module, name: str, other: nn.Module) -> Iterator[None]:
    """Another module in the place of one."""
    own = model.get_submodule(name)
    model.set_submodule(name, other)
    try:
        yield
    finally:
        model.set_submodule(name, own)

"""A trained model in the formats that others open: what its parts offer, the one that holds most, written and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import attrs
import torch
from torch import Tensor

from a2a_core.data import Collate, media
from a2a_core.errors import A2AError, RunFailed, suggest
from a2a_core.export import Exporter, apart, placed, verify
from a2a_core.model import A2AModel
from a2a_core.recipe import plain

TOLERANCE: Final = 1e-4
"""Share of the largest output by which a reopened model's may be off: other kernels add up deep models in other orders.

Tensors are compared bit for bit; this tells another computation (a layer too many, another activation) from the same one.
"""
MERGED: Final = "merged"


class Offer(NamedTuple):
    """A format, and whether the model can be written in it."""

    name: str
    opens: str
    misfit: str
    beside: tuple[str, ...]


class Written(NamedTuple):
    """A format that was written."""

    format: str
    opens: str
    folder: Path
    difference: float
    """By how much the reopened model's outputs for an example are off (see a2a_core.export.apart)."""
    beside: tuple[str, ...]
    notes: tuple[str, ...]


class Merged(Exporter):
    """The model as a2a itself saves it, adapters' updates taken into the weights."""

    opens = "a2a, as a model without adapters"

    def __init__(self, model: A2AModel) -> None:
        self.model = model

    def misfit(self) -> str:
        """Where nothing is to be taken in, the run's own `model` is it already."""
        return "" if any(adapter.adds for adapter in self.model.parts.adapters) else "no adapter adds weights to this model"

    def write(self, folder: Path) -> None:
        """As a run's own export."""
        self.model.save_pretrained(folder)

    def compare(self, folder: Path) -> float:
        """Tensors in the files, and what the reopened model makes of an example."""
        verify(self.model, folder)
        inputs = example(self.model)
        return furthest(outputs(A2AModel.from_pretrained(folder).train(False), inputs), outputs(self.model, inputs))


def exporters(model: A2AModel, collate: Collate) -> dict[str, Exporter]:
    """Every format of the model, those first that hold all of it."""
    found = dict(model.parts.fusion.formats(model, collate))
    for adapter in model.parts.adapters:
        found |= adapter.formats(model, collate)
    return {**found, MERGED: Merged(model)}


def offers(model: A2AModel, collate: Collate) -> list[Offer]:
    """Each format, and why the model is not of its shape."""
    return [Offer(name, each.opens, each.misfit(), tuple(each.beside())) for name, each in exporters(model, collate).items()]


def chosen(offered: list[Offer], name: str | None) -> Offer:
    """The named format, else the first that holds all of the model; A2AError where it cannot be had."""
    if name is None:
        whole = [offer for offer in offered if not offer.misfit and not offer.beside]
        if whole:
            return whole[0]
        reasons = "".join(f"\n  {each.name}: {each.misfit or 'it leaves out ' + ', '.join(each.beside)}" for each in offered)
        raise A2AError(f"no format for others holds all of this model{reasons}", hint="a2a itself opens the run's `model`")
    found = next((offer for offer in offered if offer.name == name), None)
    if found is None:
        raise A2AError(f"there is no format `{name}` for this model", hint=suggest(name, [offer.name for offer in offered]))
    if found.misfit:
        raise A2AError(f"the model cannot be written as `{name}`: {found.misfit}", hint="`a2a export RUN --list`")
    return found


def export_as(model: A2AModel, collate: Collate, offer: Offer, folder: Path) -> Written:
    """Write a format, open it again and compare. Adapters' updates go into the model's weights for it."""
    exporter = exporters(model, collate)[offer.name]
    with placed(folder) as partial, torch.inference_mode():
        if exporter.merged:
            merge(model)
        exporter.write(partial)
        difference = exporter.compare(partial)
        if difference > TOLERANCE:
            raise RunFailed(f"`{offer.name}` comes out otherwise than the model (by {difference:.1g}); nothing was written")
    return Written(offer.name, offer.opens, folder, difference, offer.beside, tuple(exporter.notes))


def merge(model: A2AModel) -> None:
    """Take adapters' updates into the weights, in place; RunFailed where the model is another afterwards."""
    if not any(adapter.adds for adapter in model.parts.adapters):
        return
    inputs = example(model)
    wanted = outputs(model, inputs)
    for adapter in reversed(model.parts.adapters):
        adapter.merge(model)
    parts: Any = attrs.evolve(cast("Any", model.parts), adapters=())
    model.parts, model.config.parts = parts, plain(parts)
    model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
    difference = furthest(outputs(model, inputs), wanted)
    if difference > TOLERANCE:
        raise RunFailed(f"with the adapters in its weights the model comes out otherwise (by {difference:.1g})")


def example(model: A2AModel) -> dict[str, Any]:
    """`inputs` of one sample: a short text, if it reads text, and one medium of noise for everything that reads media."""
    parts = model.parts
    text = parts.fusion.processor()
    generator = torch.Generator().manual_seed(0)
    ids: list[int] = text.tokenizer("What is it?", add_special_tokens=False)["input_ids"] if text is not None else []
    places: dict[str, Tensor] = {}
    inputs: dict[str, Any] = {"size": 1}
    for key, medium in media(parts).items():
        item = medium.processor.dummy()
        tensors = {name: noise(value, generator) for name, value in medium.processor.pad([item]).items()}
        none = torch.zeros(1, dtype=torch.int64)
        inputs[key] = {"tensors": tensors, "row": none, "slot": none, "slots": 1}
        if text is not None:
            projector = parts.projector(key)
            length = item.length if projector is None else projector.length(item.length)
            own, is_own = text.expanded(medium.modality, item, length)
            places[key] = torch.tensor(is_own).nonzero()[:, 0] + len(ids)
            ids = [*ids, *own, ids[0]]
    if text is not None:
        positions = torch.arange(len(ids))
        inputs["text"] = {"ids": torch.tensor(ids), "positions": positions, "lengths": [len(ids)], "media": places}
    return inputs


def noise(value: Any, generator: torch.Generator) -> Any:
    """As many numbers of chance; what counts or points stays."""
    lively = isinstance(value, Tensor) and value.is_floating_point()
    return torch.randn(value.shape, generator=generator) if lively else value


def outputs(model: A2AModel, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """What each head makes of it, and the logits of a fusion that owns a vocabulary."""
    with torch.inference_mode():
        encoded, _ = model.encode(inputs)
        fused = model.fusion(encoded, inputs)._replace(encoded=encoded)
        found = {
            f"{key}/{name}": value
            for key, head in model.heads.items()
            for name, value in head(fused, inputs, None).items()
            if isinstance(value, Tensor)
        }
        return found if fused.unembed is None else {**found, "logits": fused.unembed(fused.hidden)}


def furthest(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest of `apart`."""
    return max((apart(found[name], value) for name, value in wanted.items()), default=0.0)

"""The model, or what is wrong with which of its parts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from a2a_core.builtin.linear import LinearProjector
from a2a_core.deep.fakes import Fakes
from a2a_core.deep.survey import changed
from a2a_core.mistakes import Problems
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from a2a_core.components import AdapterConfig, HeadConfig, LossConfig
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Parts


def build(fakes: Fakes, parts: Parts, problems: Problems) -> A2AModel | None:
    """The model on fake tensors; without the heads, losses and adapters that are at fault, if that is all."""
    with suppress(Exception):  # whatever a part raised: which one it was is found out part by part
        return fakes.model(parts)
    with torch.device("meta"):
        sound = blame(parts, problems)
    return None if sound is None else adapted(fakes, sound, problems)


def adapted(fakes: Fakes, parts: Parts, problems: Problems) -> A2AModel | None:
    """Adapter by adapter, as A2AModel applies them."""
    model: A2AModel | None = None
    sound: list[AdapterConfig] = []
    with problems.kept():
        model = fakes.model(changed(parts, adapters=()))
        for number, adapter in enumerate(parts.adapters):
            with problems.kept(f"adapters.{number}"):
                model = fakes.model(changed(parts, adapters=(*sound, adapter)))
                sound.append(adapter)
    return model


def blame(parts: Parts, problems: Problems) -> Parts | None:
    """Build part by part, as A2AModel does; the parts without heads and losses at fault, None where others are."""
    spec = widths(parts, problems)
    heads: dict[str, HeadConfig] = {}
    for key, head in parts.heads.items():
        with problems.kept(f"heads.{key}"):
            if spec is not None:
                head.build(spec)
                heads[key] = head
    losses: dict[str, LossConfig] = {}
    for key, loss in parts.losses.items():
        with problems.kept(f"losses.{key}"):
            loss.build(parts.heads[loss.head])
            if loss.head in heads:
                losses[key] = loss
    sound: Parts | None = changed(parts, heads=heads, losses=losses) if heads else None
    return sound


def widths(parts: Parts, problems: Problems) -> Widths | None:
    """What heads may build on; None where an encoder, a projector or the fusion cannot be built."""
    before, found = len(problems), {}
    for key, encoder in parts.encoders.items():
        with problems.kept(f"encoders.{key}"):
            module: Any = encoder.build()
            found[key] = int(module.width)
    with problems.kept("fusion"):
        fusion: Any = parts.fusion.build(dict(found))
        for key, width in found.items():
            with problems.kept(f"projectors.{key}"):
                wanted = fusion.input_width or width
                (parts.projector(key) or LinearProjector()).build(width, wanted)
                found[key] = wanted
        if len(problems) == before:
            return Widths(fusion.width, found, getattr(fusion, "vocabulary", None))
    return None

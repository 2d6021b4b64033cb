"""Media to tokens by a multimodal model's own tower and merger, each layout of a batch in its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from a2a_llm.documents import Documents
from a2a_llm.hf_multimodal_images import side_by_side

Batches = Mapping[str, Mapping[str, Any]]
"""Modality -> its tensors, as its processor pads them."""


class Features(NamedTuple):
    """A modality's tokens."""

    values: Tensor
    """(P, C): of all items, one behind the other."""
    deep: Sequence[Tensor] = ()
    """(P, C) each: what is added behind the language model's first layers (DeepStack, arXiv 2406.04334)."""


def pictures(model: Any, batches: Batches) -> dict[str, Features]:
    """Pictures of one size."""
    found = {}
    for key, tensors in batches.items():
        features = model.get_image_features(tensors["pixel_values"], return_dict=True).pooler_output
        found[key] = Features(torch.cat(list(features)))
    return found


def patches(model: Any, batches: Batches) -> dict[str, Features]:
    """Pictures and videos as patches, all in one pass of the tower."""
    several = list(batches.values())
    plan = side_by_side([each["plan"] for each in several])
    pixels = torch.cat([each["pixel_values"] for each in several])
    told = {name: value for name, value in plan.items() if name not in ("pieces", "windows")}
    for name, lengths in (("seqlens", "pieces"), ("window_seqlens", "windows")):
        if lengths in plan:
            told |= {f"cu_{name}": Documents(plan[lengths]), f"max_{name[:-1]}": max(plan[lengths])}
    made = model.visual(pixels.to(model.visual.dtype), grid_thw=None, return_dict=True, **told)
    sizes = [len(each["pixel_values"]) // model.visual.spatial_merge_size**2 for each in several]
    layers = [layer.split(sizes) for layer in getattr(made, "deepstack_features", None) or ()]
    return {
        key: Features(values, [layer[number] for layer in layers])
        for number, (key, values) in enumerate(zip(batches, made.pooler_output.split(sizes), strict=True))
    }


def sounds(model: Any, batches: Batches) -> dict[str, Features]:
    """Log-mel spectrograms of one length, of each as many tokens as its sound reaches."""
    found = {}
    for key, tensors in batches.items():
        heard = model.audio_tower(tensors["input_features"], attention_mask=tensors["mask"][:, None, None]).last_hidden_state
        values = model.multi_modal_projector(heard)
        found[key] = Features(torch.cat([item[:length] for item, length in zip(values, tensors["lengths"], strict=True)]))
    return found


TOWERS: Final[Mapping[str, Callable[[Any, Batches], dict[str, Features]]]] = {
    "pictures": pictures,
    "patches": patches,
    "sounds": sounds,
}

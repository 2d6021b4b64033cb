"""A batch's texts one by one, as the `generate` of transformers' multimodal models takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from a2a_core import RunFailed
from a2a_llm.hf_multimodal_families import Family
from a2a_llm.hf_multimodal_positions import beginnings


def stock_inputs(
    family: Family, modalities: Sequence[str], inputs: Mapping[str, Any], positions: Tensor
) -> Iterator[dict[str, Any]]:
    """The arguments for each text: its ids (1, T), a mask, its media, and where they have three dimensions its positions.

    Stock models work these out themselves, and take two media without text between for one.
    """
    text = inputs["text"]
    own = torch.zeros_like(text["ids"], dtype=torch.bool)
    for key in modalities:
        own[text["media"][key]] = True
    for row, (start, length) in enumerate(zip(beginnings(text["lengths"]), text["lengths"], strict=True)):
        here = slice(start, start + length)
        ids = text["ids"][None, here]
        told = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for key in modalities:
            chosen = [item for item, each in enumerate(inputs[key]["row"].tolist()) if each == row]
            told |= CHOSEN[family.layout](key, inputs[key]["tensors"], chosen) if chosen else {}
        if family.spatial:
            if own[here][-1]:
                raise RunFailed("a prompt ends with a medium, and the model would not know where to go on: put text behind it")
            told["position_ids"] = torch.cat([text["positions"][None, None, here], positions[:, None, here]])
        yield told


def pictures(_: str, tensors: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Tensor]:
    """Some of the pictures."""
    return {"pixel_values": tensors["pixel_values"][chosen]}


def patches(key: str, tensors: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Any]:
    """The patches of some pictures or videos."""
    pixels, grids = tensors["pixel_values"], torch.tensor(tensors["grids"])
    cut = pixels.split(grids.prod(1).tolist())
    values, name = torch.cat([cut[item] for item in chosen]), "pixel_values" + ("_videos" if key == "video" else "")
    return {name: values, f"{key}_grid_thw": grids[chosen].to(pixels.device)}


def sounds(_: str, tensors: Mapping[str, Any], chosen: Sequence[int]) -> dict[str, Tensor]:
    """Some of the sounds."""
    return {"input_features": tensors["input_features"][chosen], "feature_attention_mask": tensors["frames"][chosen]}


CHOSEN: Final[Mapping[str, Callable[[str, Mapping[str, Any], Sequence[int]], dict[str, Any]]]] = {
    "pictures": pictures,
    "patches": patches,
    "sounds": sounds,
}

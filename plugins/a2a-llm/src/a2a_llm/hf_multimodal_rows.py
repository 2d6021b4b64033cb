"""Media of an encoder's batch: each item a row of its own, as encoders are given them, to what a tower reads.

What a tower is told in numbers (how many patches, how long a window) is numpy arrays, whose dimension 0 are items, too: they
stay where they are, and no device is asked for them. Stand-ins without values (the meta device, a deep check) may be of more
rows than such numbers; by their shapes alone, all of them are as long as the longest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2a_llm.documents import Documents, behind, disable

Rows = Mapping[str, Any]


def blank(rows: Rows) -> dict[str, Any]:
    """What is known of a dummy's row without keeping it: numbers, and of tensors shape and type."""
    return {name: (value.shape, value.dtype) if isinstance(value, Tensor) else value for name, value in rows.items()}


def filled(known: Rows, device: torch.device) -> dict[str, Any]:
    """The row again: zeros, and masks in which all is seen."""
    found = {}
    for name, value in known.items():
        if isinstance(value, tuple):
            shape, kind = value
            value = torch.full(shape, int(kind == torch.bool), dtype=kind, device=device)
        found[name] = value
    return found


def gathered(layout: str, rows: Rows, real: bool) -> dict[str, Any]:
    """As a tower of this layout reads them (see a2a_llm.hf_multimodal_towers)."""
    if layout == "patches":
        return patches(rows, real)
    if layout == "sounds":
        features = rows["input_features"]
        return {**rows, "lengths": rows["lengths"].tolist() if real else [features.shape[2] // 4] * len(features)}
    return dict(rows)


@disable
def patches(rows: Rows, real: bool) -> dict[str, Any]:
    """Patches one behind the other, and the plan of them all (see Tower.plan)."""
    pixels: Tensor = rows["pixel_values"]
    count, longest = pixels.shape[:2]
    grids = rows["grids"].tolist() if real else [[1, 1, longest]] * count
    lengths = Documents([time * height * width for time, height, width in grids])
    plan: dict[str, Any] = {"pieces": [height * width for time, height, width in grids for _ in range(time)]}
    for name in ("position_ids", "interp_indices", "interp_weights"):
        if name in rows:
            plan[name] = behind(rows[name], lengths)
    if "window_index" in rows:
        square = longest // rows["window_index"].shape[1]  # patches that become a token
        merged = Documents([length // square for length in lengths.lengths])
        starts = torch.tensor([0, *merged.lengths[:-1]]).cumsum(0).to(pixels.device, non_blocking=True)
        plan["window_index"] = behind(rows["window_index"] + starts[:, None], merged)
        windows = rows["windows"] if real else np.array([equal(longest, int(rows["windows"].max()))] * count)
        plan["windows"] = windows[windows > 0].tolist()
    return {"pixel_values": behind(pixels, lengths), "plan": plan}


def equal(length: int, window: int) -> list[int]:
    """Windows of one size, the last of what is left."""
    return [min(window, length - start) for start in range(0, length, window)]

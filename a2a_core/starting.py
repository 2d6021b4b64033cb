"""Weights of an earlier run for a new one to start with: the second stage of a training, or another task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from a2a_core.errors import A2AError, Problem

if TYPE_CHECKING:
    from torch import nn

SHOWN = 8


def start_with(model: nn.Module, path: Path, but: Sequence[str]) -> None:
    """Copy every tensor of an export into a model, before its adapters change it; A2AError unless the two agree.

    `path` is a run's folder, or a model that a run exported. Names that fit a pattern of `but` may be missing on either side,
    or differ in shape, and are left as they were built. A pattern that fits nothing is an error.
    """
    files = sorted(folder_of(path).glob("*.safetensors"))
    found = dict(tensors(files))
    own = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, tensor in own.items():
        names.setdefault(id(tensor), []).append(name)
    known = {name: names[id(tensor)] for name, tensor in own.items()}  # tied ones are saved under one of their names
    problems = [Problem(f"`init_but` has `{each}`, and no tensor fits it") for each in idle(but, [*own, *found])]
    left, loaded = [], set[str]()
    with torch.no_grad():
        for name, file in found.items():
            if fits(name, but):
                continue
            target = own.get(name)
            if target is None:
                left.append(name)
                continue
            with safe_open(file, "pt") as opened:
                value = opened.get_tensor(name)
            if value.shape != target.shape:
                text = f"{path}: `{name}` has the shape {tuple(value.shape)}, and the recipe's model {tuple(target.shape)}"
                problems.append(Problem(text))
                continue
            target.copy_(value)
            loaded.update(known[name])
    missing = [name for name in own if name not in loaded and name not in found and not fits(name, but)]
    if any("lora_" in name or ".base_layer." in name for name in left):
        text = f"{path} was saved with adapters, which a new run does not have when it begins"
        raise A2AError(text, hint=f"a2a export {path} --format merged -o FOLDER, and start from FOLDER")
    hint = 'name what may differ in `init_but`, such as `init_but = ["heads.*"]`'
    for what, several in (("lacks", missing), ("has, and the recipe's model lacks,", left)):
        if several:
            problems.append(Problem(f"{path} {what} {len(several)} tensor(s): {shortened(several)}", hint=hint))
    if not loaded and not problems:
        problems.append(Problem(f"{path}: `init_but` leaves nothing to start with"))
    if problems:
        raise A2AError(problems)


def folder_of(path: Path) -> Path:
    """Where the weights lie; A2AError where there are none."""
    for folder in (path / "model", path):
        if any(folder.glob("*.safetensors")):
            return folder
    raise A2AError(f"`init_from`: there is no trained model at {path}", hint="a run's folder, or its `model` folder")


def tensors(files: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Name -> the file that has it."""
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - no mapping
                    yield name, file
        except (OSError, SafetensorError) as error:
            raise A2AError(f"the weights in {file} cannot be read: {error}") from None


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of them means it."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def idle(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Those that mean nothing."""
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]


def shortened(names: Sequence[str]) -> str:
    """The first of them."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")

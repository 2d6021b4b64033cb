"""What tells one encoder from another: its options, its code, every tensor in it, and the arithmetic that it runs in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn
from xxhash import xxh3_128

from a2a_core.components import AdapterConfig, EncoderConfig, RecordingConfig
from a2a_core.features import Unusable
from a2a_core.features.content import read
from a2a_core.features.provenance import bases, code_of, dists_of, versions
from a2a_core.features.shard import bytes_of
from a2a_core.options import Component, Options, defined_by
from a2a_core.recipe import plain

LAYOUT = 2
"""Raised when features are kept in another way, or computed in another."""
ELSEWHERE = (EncoderConfig, RecordingConfig)
"""Whose options change no token: which rows' media are read, and what is trained and kept. A subclass may have others of
the same names."""
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".md"}
"""Files of a saved model that its tensors stand for, or that nobody but people read."""


def encoder_key(config: EncoderConfig, module: nn.Module, adapters: Sequence[AdapterConfig], arithmetic: str) -> str:
    """32 hexadecimal digits, the same on every machine and in every run that computes the same tokens of a medium.

    Whatever may change a token makes another key: an option, an edit of the plugin's code or of another's that it builds on,
    another version of what it depends on, a weight. Where the weights came from, and which field is read, does not.
    Unusable where that cannot be told.
    """
    classes = bases([type(each) for each in chain(components(config), module.modules())])
    dists = dists_of(classes)
    described = {
        "layout": LAYOUT,
        "options": options(config),
        "code": code_of(classes, dists),
        "versions": versions(dists),
        "adapters": [plain(each) for each in adapters] if adapters and adapted(config, module) else [],
        "arithmetic": arithmetic,
        "dtype": config.cache_dtype,
    }
    hasher = xxh3_128(json.dumps(described, sort_keys=True).encode())
    for name, tensor in tensors(module):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hasher.update(bytes_of(tensor))
    return hasher.hexdigest()


def tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Everything that it holds, in order."""
    yield from chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def components(value: Any) -> Iterator[Component]:
    """A component and those that are options of it: an encoder of frames holds an encoder of images."""
    if isinstance(value, Component):
        yield value
    inside: Any = ()
    if isinstance(value, Options):
        inside = [getattr(value, field.name) for field in attrs.fields(type(value))]
    elif isinstance(value, (Mapping, list, tuple)):
        inside = value.values() if isinstance(value, Mapping) else value
    for each in inside:
        yield from components(each)


def options(value: Any) -> Any:
    """A resolved encoder's options as JSON's types; of a path, what lies there counts."""
    if isinstance(value, Options):
        fields = [field for field in attrs.fields(type(value)) if defined_by(type(value), field.name) not in ELSEWHERE]
        found = {field.name: options(getattr(value, field.name)) for field in fields}
        kept = {name: each for name, each in found.items() if each is not None}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}"} | kept
    if isinstance(value, Path):
        return beside(value)
    if isinstance(value, Mapping):
        return {str(name): options(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [options(each) for each in value]
    return plain(value)


def beside(path: Path) -> str | None:
    """A digest of what lies at a path of a resolved encoder, which should be weights alone; None for nothing more.

    Weights count as the tensors that they have become, so that those files of a folder are left out: the rest is small, and
    a processor may still read it. The path itself says nothing.
    """
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if counts(each.relative_to(path)))
    hasher = xxh3_128()
    try:
        for each in files:
            hasher.update(os.fsencode(each.relative_to(path)) + b"\0" + read(each))
    except OSError as error:
        raise Unusable(f"{error.filename} cannot be read: {error.strerror}") from error
    return hasher.hexdigest() if files else None


def counts(inside: Path) -> bool:
    """Whether a file of a model's folder may change what a processor does."""
    return inside.suffix not in WEIGHTS and not any(part.startswith(".") for part in inside.parts)


def adapted(config: EncoderConfig, module: nn.Module) -> bool:
    """Whether an adapter put something into it that its options say nothing of."""
    with torch.device("meta"):
        fresh = config.build()
    return structure(fresh) != structure(module)


def structure(module: nn.Module) -> list[tuple[str, str]]:
    """Its modules and their classes."""
    return [(name, type(each).__qualname__) for name, each in module.named_modules()]


def arithmetic(device: torch.device, autocast: Callable[[], AbstractContextManager[Any]]) -> str:
    """What numbers are computed with: the kind of device, autocast, TensorFloat-32."""
    with autocast():
        lowered = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
    found = [device.type, str(lowered)]
    if device.type == "cuda":
        found += [str(getattr(each, "fp32_precision", "")) for each in (torch.backends.cuda.matmul, torch.backends.cudnn)]
    return " ".join(found)

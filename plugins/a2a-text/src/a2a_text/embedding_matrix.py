"""The input embedding matrix of a model directory: where it lies, and nothing but it read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from a2a_core import A2AError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"


class Matrix(NamedTuple):
    """Where an embedding matrix lies, and its size."""

    file: Path
    name: str
    rows: int
    width: int

    def read(self) -> Tensor:
        """(rows, width) float32; no other tensor of the file is read."""
        import torch

        with opened(self.file) as tensors:
            values: Tensor = tensors.get_tensor(self.name)
        if not values.is_floating_point():
            raise A2AError(f"`{self.name}` in {self.file} is {values.dtype}: quantised weights cannot be read")
        return values.to(torch.float32)


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, of which the header alone is read; A2AError when it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except (OSError, SafetensorError) as error:
        raise A2AError(f"the weights in {file} cannot be read: {error}") from None


def refuse_without_safetensors(path: Path) -> None:
    """ValueError for a directory whose weights are in another format than safetensors, or that has none."""
    if (path / SINGLE).is_file() or (path / INDEX).is_file():
        return
    pickled = sorted(file.name for file in path.glob("*.bin"))
    found = f"only {pickled[0]}, a pickle, which is not opened" if pickled else "no weights"
    raise ValueError(
        f"`path`: {path} has {found}; "
        "AutoModel.from_pretrained(...).save_pretrained(...) writes model.safetensors where the weights are trusted"
    )


def find_matrix(path: Path, config: PretrainedConfig) -> Matrix:
    """The input embeddings of a directory's model; A2AError when the files have none, or more than one that it may be."""
    files, names = tensor_files(path), input_embeddings(config)
    exact = [[name] for name in names if name in files]
    alike = [[name for name in files if f".{name}".endswith(f".{tail(wanted)}")] for wanted in names]
    found = next((each for each in exact + alike if each), [])
    if len(found) != 1:
        has = f"several that it may be ({', '.join(sorted(found))})" if found else "none"
        raise A2AError(f"{path} should have one tensor `{names[0]}`, the model's input embeddings, and has {has}")
    return measured(files[found[0]], found[0])


def tail(name: str) -> str:
    """A tensor's name within its module, which stays where a model stands in a bigger one: `embed_tokens.weight`."""
    return ".".join(name.split(".")[-2:])


def tensor_files(path: Path) -> dict[str, Path]:
    """Each tensor's name -> the file that it lies in, as transformers chooses files."""
    if (path / SINGLE).is_file():
        with opened(path / SINGLE) as tensors:
            return dict.fromkeys(tensors.keys(), path / SINGLE)
    try:
        weights = json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"]
        return {name: path / file for name, file in weights.items()}
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise A2AError(f"{path / INDEX} is no index of weights: {error!r}") from None


def measured(file: Path, name: str) -> Matrix:
    """The tensor's size, from the file's header."""
    with opened(file) as tensors:
        shape = tensors.get_slice(name).get_shape()
    if len(shape) != 2:
        raise A2AError(f"`{name}` in {file} is no matrix: its shape is {shape}")
    return Matrix(file, name, *shape)


def input_embeddings(config: PretrainedConfig) -> list[str]:
    """What a model's input embeddings may be called in files, the likeliest first; A2AError for one that reads no text.

    transformers says it of the model on the meta device, else of its text model. Files have its base model's prefix or not,
    and may hold the matrix under the name of an output layer that is tied to it.
    """
    text = config.get_text_config()
    for part in (config, text):
        names, prefix = embedding_names(part)
        if names:
            names += [f"{prefix}.{name}" for name in names] + [name.removeprefix(f"{prefix}.") for name in names]
            tied = getattr(config, "tie_word_embeddings", False) or getattr(text, "tie_word_embeddings", False)
            return names + (["lm_head.weight"] if tied else [])
    raise A2AError(f"a `{config.model_type}` model has no embeddings of text that transformers could name")


def embedding_names(config: PretrainedConfig) -> tuple[list[str], str]:
    """Names of the input embeddings in `AutoModel`, and the prefix that a bigger model gives it; no names where it has none."""
    from torch import nn
    from transformers import AutoModel

    from a2a_core.pretrained.tracing import tracing

    auto: Any = AutoModel
    try:
        with tracing():
            model = auto.from_config(config)
            embedding = model.get_input_embeddings()
    except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return [], ""  # a tower of pictures, one that wants a library which is not installed: the text model is asked next
    if not isinstance(embedding, nn.Embedding):
        return [], ""
    parameters = model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in parameters if parameter is embedding.weight], model.base_model_prefix

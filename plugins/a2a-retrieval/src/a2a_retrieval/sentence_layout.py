"""The files of sentence-transformers: modules in order, each with its class, its folder and its table.

The names of classes and keys are those of its versions 2 to 4, which later ones read, too; a Router needs version 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_file, save_file
from torch import nn

OPENS: Final = "sentence-transformers: SentenceTransformer(…)"
POOLS: Final = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
"""Our pool -> the end of theirs; a head's other pools have none."""
CLASSES: Final = "sentence_transformers.models."


def write_json(file: Path, table: Any) -> None:
    """A table, in a folder that is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(file: Path) -> Any:
    """It again."""
    return json.loads(file.read_text("utf-8"))


def write_modules(folder: Path, modules: Sequence[tuple[str, str]], prompts: Mapping[str, str], cosine: bool) -> None:
    """`modules.json`, of (class, folder within), and the model's own table."""
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": CLASSES + kind} for index, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    said = set(prompts.values())
    table = {
        "prompts": dict(prompts),
        "default_prompt_name": "query" if len(said) == 1 and said != {""} else None,
        "similarity_fn_name": "cosine" if cosine else "dot",
    }
    write_json(folder / "config_sentence_transformers.json", table)
    for kind, path in modules:
        if kind == "Normalize":
            write_json(folder / path / "config.json", {})


def write_pooling(folder: Path, width: int, pool: str) -> None:
    """How tokens become one vector."""
    modes = {f"pooling_mode_{name}": name == POOLS[pool] for name in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}
    write_json(folder / "config.json", {"word_embedding_dimension": width, **modes, "include_prompt": True})


def write_dense(folder: Path, layer: nn.Linear) -> None:
    """A projection without bias or activation."""
    table = {"in_features": layer.in_features, "out_features": layer.out_features, "bias": False}
    write_json(folder / "config.json", {**table, "activation_function": "torch.nn.modules.linear.Identity"})
    save_file({"linear.weight": layer.weight.detach().contiguous()}, folder / "model.safetensors", {"format": "pt"})


def read_dense(folder: Path) -> nn.Linear:
    """It again."""
    table = read_json(folder / "config.json")
    layer = nn.Linear(table["in_features"], table["out_features"], bias=table["bias"])
    weights = load_file(folder / "model.safetensors")
    layer.load_state_dict({name.removeprefix("linear."): value for name, value in weights.items()})
    return layer

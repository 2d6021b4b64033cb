"""Configurations of transformers' vision models, from a directory or a recipe's table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from a2a_core import A2AError
from a2a_core.errors import suggest

NOT_ARCHITECTURE: Final = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "torch_dtype",
    "transformers_version",
)

NULLS: Final = "nulls"
"""The key in a table that lists the fields which are null though their default is not; TOML has no null."""

RANDOM: Final = frozenset({"videomae", "vit_mae"})
"""Models for pre-training by masking, which mask in evaluation too."""


def read_config(path: Path | None, table: Mapping[str, Any], typed: bool) -> PretrainedConfig:
    """The vision tower's configuration: of the table, else of the directory; A2AError for what transformers does not know.

    Of a model of images and text (CLIP, SigLIP) it is the part for images. In a table that was `typed` by hand, a key that
    the model type does not have is an error; directories often hold such keys.
    """
    kind = table.get("model_type")
    if table and kind not in CONFIG_MAPPING:
        raise A2AError(f"transformers knows no model type `{kind}`", hint=suggest(str(kind), CONFIG_MAPPING.keys()))
    try:
        config = configuration(table) if table else from_directory(path)
    except (OSError, TypeError, ValueError, StrictDataclassError) as error:
        where = "`config`" if table else f"{path}"
        raise A2AError(f"{where}: transformers cannot read this configuration: {gist(error)}") from None
    tower = getattr(config, "vision_config", config)
    if not isinstance(tower, PretrainedConfig):
        raise A2AError(f"a `{config.model_type}` model has no vision model that transformers could build alone")
    if tower.model_type in RANDOM:
        raise A2AError(f"a `{tower.model_type}` model hides and shuffles patches at random: its tokens have no fixed places")
    if typed:
        refuse_unknown_keys(config, table)
        if tower is not config:
            refuse_unknown_keys(tower, table.get("vision_config", {}))
    return tower


def from_directory(path: Path | None) -> PretrainedConfig:
    """The configuration that a directory holds."""
    auto: Any = AutoConfig
    return cast("PretrainedConfig", auto.from_pretrained(path, local_files_only=True, trust_remote_code=False))


def configuration(table: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration that a table describes."""
    values = dict(table)
    values |= dict.fromkeys(values.pop(NULLS, ()))
    return AutoConfig.for_model(values.pop("model_type"), **values)


def gist(error: Exception) -> str:
    """The beginning of a message, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


def refuse_unknown_keys(config: PretrainedConfig, table: Mapping[str, Any]) -> None:
    """A2AError for keys that the configuration keeps but no model of this type reads."""
    known = {field.name for field in fields(config)} | set(config.attribute_map) | set(type(config)().to_dict())
    for key in [key for key in table if key != NULLS] + list(table.get(NULLS, ())):
        if key not in known:
            text = f"`config` has an unknown key `{key}` for model type `{config.model_type}`"
            raise A2AError(text, hint=suggest(key, known))


def plain(config: PretrainedConfig) -> dict[str, Any]:
    """The configuration as values that TOML has, without what says nothing of the architecture."""
    values: dict[str, Any] = json.loads(config.to_json_string())
    values = {key: value for key, value in values.items() if key not in NOT_ARCHITECTURE}
    defaults = type(config)().to_dict()
    nulls = [key for key, value in values.items() if value is None and defaults.get(key) is not None]
    return {key: value for key, value in values.items() if value is not None} | ({NULLS: nulls} if nulls else {})


def image_size(config: PretrainedConfig) -> tuple[int, int]:
    """Height and width that the model was made for."""
    return pair(config, "image_size")


def pair(config: PretrainedConfig, name: str) -> tuple[int, int]:
    """A field that is one number or two; A2AError when the configuration has none."""
    value = getattr(config, name, None)
    if isinstance(value, int):
        return value, value
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise A2AError(f"the configuration of a `{config.model_type}` model has no `{name}`: it cuts no picture into patches")
    return int(value[0]), int(value[1])


def read_preprocessor(path: Path) -> dict[str, Any]:
    """`preprocessor_config.json` (or its part of `processor_config.json`) of a model directory; empty when there is none."""
    for name, key in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        file = path / name
        if not file.is_file():
            continue
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise A2AError(f"{file} is no JSON: {error}") from None
        found = values.get(key) if key else values
        if isinstance(found, dict):
            return found
    return {}

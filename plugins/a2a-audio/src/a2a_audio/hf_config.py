"""Configurations of transformers' sound models, and what their feature extractors do, from a directory or a recipe's tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig

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


def read_config(path: Path | None, table: Mapping[str, Any]) -> PretrainedConfig:
    """The model's configuration: of the table, else of the directory; A2AError for what transformers does not know.

    A table was typed by hand, so that a key which the model type does not have is an error. What is no part of the
    architecture but of training (SpecAugment, layer drop) is off: with them, a step would leave parameters without gradient.
    """
    try:
        if table:
            values = dict(table)
            config: PretrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
        else:
            config = AutoConfig.from_pretrained(cast("Path", path), local_files_only=True, trust_remote_code=False)
    except (OSError, TypeError, ValueError, StrictDataclassError) as error:
        where = "`config`" if table else str(path)
        raise A2AError(f"{where}: transformers cannot read this configuration: {first_line(error)}") from None
    refuse_unknown_keys(config, table)
    for name in ("layerdrop", "encoder_layerdrop", "mask_time_prob", "mask_feature_prob"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    config.apply_spec_augment = False
    return config


def first_line(error: Exception) -> str:
    """The gist of a long message."""
    return str(error).strip().splitlines()[0]


def refuse_unknown_keys(config: PretrainedConfig, table: Mapping[str, Any]) -> None:
    """A2AError for keys that the configuration keeps but no model of this type reads."""
    known = {field.name for field in fields(config)} | set(config.attribute_map) | set(type(config)().to_dict())
    for key in table:
        if key not in known:
            text = f"`config` has an unknown key `{key}` for model type `{config.model_type}`"
            raise A2AError(text, hint=suggest(key, known))


def plain(config: PretrainedConfig) -> dict[str, Any]:
    """The configuration as values that TOML has (no nulls, all of which are defaults), without what is no architecture."""
    values: dict[str, Any] = json.loads(config.to_json_string())
    return {key: value for key, value in values.items() if key not in NOT_ARCHITECTURE and value is not None}


def read_preprocessor(path: Path) -> dict[str, Any]:
    """`preprocessor_config.json` (or its part of `processor_config.json`) of a model directory; empty when there is none."""
    for name, key in (("processor_config.json", "feature_extractor"), ("preprocessor_config.json", None)):
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

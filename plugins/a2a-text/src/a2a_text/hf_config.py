"""Configurations of transformers, from a directory or a recipe's table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from a2a_core import A2AError
from a2a_core.errors import suggest


def read_config(path: Path | None, table: Mapping[str, Any]) -> PretrainedConfig:
    """The text model's configuration: the table's, else the directory's; A2AError for what transformers does not know.

    `table` was typed by hand: a key that the model type does not have is an error too.
    """
    kind = table.get("model_type")
    if kind is not None and kind not in CONFIG_MAPPING:
        raise A2AError(f"transformers knows no model type `{kind}`", hint=suggest(str(kind), CONFIG_MAPPING))
    try:
        if table or path is None:
            values = dict(table)
            config: PretrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
        else:
            config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, TypeError, ValueError, StrictDataclassError) as error:
        where = path if not table else "`config`"
        raise A2AError(f"{where}: transformers cannot read this configuration: {' '.join(str(error).split())[:300]}") from None
    if table:
        refuse_unknown_keys(config, table)
    text: PretrainedConfig = config.get_text_config()
    return text


def from_json(text: str) -> PretrainedConfig:
    """What `to_json_string` wrote."""
    values = json.loads(text)
    config: PretrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
    return config


def refuse_unknown_keys(config: PretrainedConfig, table: Mapping[str, Any]) -> None:
    """A2AError for keys that the configuration keeps but no model of this type reads."""
    known = {field.name for field in fields(config)} | set(config.attribute_map) | set(type(config)().to_dict())
    for key in table:
        if key not in known:
            raise A2AError(
                f"`config` has an unknown key `{key}` for model type `{config.model_type}`", hint=suggest(key, known)
            )


def length_limit(wanted: int | None, positions: int | None) -> int | None:
    """The most tokens of a text: what is wanted, within what the model has positions for; A2AError beyond."""
    if wanted is not None and positions is not None and wanted > positions:
        raise A2AError(f"`max_length` = {wanted}, but the model has {positions} positions")
    return wanted if wanted is not None else positions


def special_ids(config: PretrainedConfig) -> tuple[int | None, int | None, int | None]:
    """Begin, end and padding; the first where a model has several, None where it has none (some write -1)."""
    found = []
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        token = getattr(config, name, None)
        first = token[0] if isinstance(token, list) else token
        found.append(first if first is not None and first >= 0 else None)
    begin, end, pad = found
    return begin, end, pad

"""Configurations of transformers, from a directory or a recipe's table, and as values that a recipe can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig

from a2a_core.errors import A2AError, suggest

NOT_ARCHITECTURE: Final = frozenset(
    {
        "_name_or_path",
        "architectures",
        "dtype",
        "id2label",
        "label2id",
        "problem_type",
        "torch_dtype",
        "transformers_version",
    }
)
NULLS: Final = "nulls"
"""The key in a table that lists the fields which are null though their default is not; TOML has no null."""


def read_config(path: Path | None, table: Mapping[str, Any], typed: bool = True) -> PretrainedConfig:
    """The model's configuration: of the table, else of the directory; A2AError for what transformers does not know.

    In a table that was `typed` by hand, a key that the model type does not have is an error; directories often hold such
    keys. No code of a directory is run, nothing is downloaded.
    """
    kind = table.get("model_type")
    if table and kind not in CONFIG_MAPPING:
        raise A2AError(f"transformers knows no model type `{kind}`", hint=suggest(str(kind), CONFIG_MAPPING))
    try:
        config = configuration(table) if table else from_directory(path)
    except (AttributeError, OSError, TypeError, ValueError, StrictDataclassError) as error:
        where = "`config`" if table else f"{path}"
        raise A2AError(f"{where}: transformers cannot read this configuration: {gist(error)}") from None
    if typed:
        refuse_unknown_keys(config, table)
    return config


def from_directory(path: Path | None) -> PretrainedConfig:
    """What the directory's config.json describes."""
    auto: Any = AutoConfig
    config: PretrainedConfig = auto.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    return config


def configuration(table: Mapping[str, Any]) -> PretrainedConfig:
    """The configuration that a table describes, such as one that `plain` made."""
    values = with_nulls(table)
    config: PretrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
    return config


def with_nulls(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a table lists as null, as None; tables within it (of a model's parts) likewise."""
    values = {key: with_nulls(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    return values | dict.fromkeys(values.pop(NULLS, ()))


def plain(config: PretrainedConfig) -> dict[str, Any]:
    """The configuration as values that TOML has, without what says nothing of the architecture."""
    return architecture(json.loads(config.to_json_string()), type(config)().to_dict())


def architecture(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are not null; those of the others that are not null by default are listed."""
    found, nulls = dict[str, Any](), []
    for key in values.keys() - NOT_ARCHITECTURE:
        value, default = values[key], defaults.get(key)
        if value is None:
            nulls += [key] if default is not None else []
        elif isinstance(value, Mapping):
            found[key] = architecture(value, default if isinstance(default, Mapping) else dict.fromkeys(value, "unknown"))
        else:
            found[key] = value
    return {key: found[key] for key in sorted(found)} | ({NULLS: sorted(nulls)} if nulls else {})


OLDER: Final = {"rope_parameters": {"rope_theta", "rope_scaling"}}
"""Keys of configurations that transformers 4 wrote, and reads to this day: what they became -> what they were."""


def refuse_unknown_keys(config: PretrainedConfig, table: Mapping[str, Any]) -> None:
    """A2AError for keys that the configuration, or that of a part, keeps but no model of this type reads."""
    known = {field.name for field in fields(config)} | set(config.attribute_map) | set(type(config)().to_dict())
    known |= {old for new, several in OLDER.items() if new in known for old in several}
    for key in [*(key for key in table if key != NULLS), *table.get(NULLS, ())]:
        if key not in known:
            text = f"`config` has an unknown key `{key}` for model type `{config.model_type}`"
            raise A2AError(text, hint=suggest(key, known, "print(AutoConfig.for_model(…))"))
        part = getattr(config, key, None)
        if isinstance(part, PretrainedConfig) and isinstance(table.get(key), Mapping):
            refuse_unknown_keys(part, table[key])


def read_preprocessor(path: Path, part: str) -> dict[str, Any]:
    """How a directory's model wants its medium prepared; empty when nothing says.

    `part` is its key in `processor_config.json`, which holds it in newer checkpoints: "image_processor", "video_processor" ...
    Others have `video_preprocessor_config.json` for videos, and `preprocessor_config.json` for anything.
    """
    found = read_table(path / "processor_config.json").get(part)
    if not isinstance(found, dict) and part == "video_processor":
        found = read_table(path / "video_preprocessor_config.json")
    return found if found and isinstance(found, dict) else read_table(path / "preprocessor_config.json")


def read_table(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no file, A2AError when it holds anything else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise A2AError(f"{file} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise A2AError(f"{file} holds {type(values).__name__}, not a JSON object")
    return values


def gist(error: Exception) -> str:
    """The beginning of a message, on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."

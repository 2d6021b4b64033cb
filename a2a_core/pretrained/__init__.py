"""Model directories of Hugging Face, for plugins that wrap a model of transformers.

Config classes may import this module, which is light: `check_source`. What reads configurations (`configuration`), copies
weights (`weights`) and looks at a model without memory (`tracing`) imports transformers and belongs into methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE = "give `path`, a directory with a saved model, or `config`, a table with `model_type`"


def check_source(path: Path | None, config: Mapping[str, Any], resolved: bool, example: str) -> None:
    """ValueError unless an encoder's or a fusion's options name one model: a directory, or a table with a `model_type`.

    `resolved`: what the directory says was read into the table, and `path` is only where the first weights lie; `example` is
    a model type for the message.
    """
    if path is None and not config:
        raise ValueError(SOURCE)
    if path is not None and config and not resolved:
        raise ValueError("give either `path` or `config`, not both")
    if config and not isinstance(config.get("model_type"), str):
        raise ValueError(f'`config` needs a `model_type`, such as "{example}"')
    if path is not None and not config and not (path / "config.json").is_file():
        raise ValueError(f"`path`: there is no model at {path} (no config.json)")

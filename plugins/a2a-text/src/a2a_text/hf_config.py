"""What `hf-text` reads of a configuration of transformers: limits and special tokens."""

from __future__ import annotations

from transformers import PretrainedConfig

from a2a_core import A2AError


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

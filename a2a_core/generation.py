"""Text written by a trained model whose fusion owns a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from a2a_core.data import Collate
from a2a_core.structures import TextTarget

if TYPE_CHECKING:
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Parts

GREEDY: Final[Mapping[str, Any]] = {"max_new_tokens": 256, "do_sample": False}
"""What is generated with where nothing else is said."""


def text_heads(parts: Parts) -> list[str]:
    """The heads whose predictions are text that is generated."""
    return [key for key, head in parts.heads.items() if isinstance(head.processor(), TextTarget)]


def generate(model: A2AModel, collate: Collate, inputs: Mapping[str, Any], **options: Any) -> list[str]:
    """What follows each sample's text; `inputs` are on the model's device, `options` those of transformers' `generate`."""
    text = model.parts.fusion.processor()
    assert text is not None, "only a fusion with a vocabulary has heads that predict text"
    stop = {"eos_token_id": list(collate.stop)} if collate.stop else {}
    written = model.generate(inputs, **{**GREEDY, **stop, **options})
    return [text.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]

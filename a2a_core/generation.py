"""Text written by a trained model whose fusion owns a vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from a2a_core.data import Collate
from a2a_core.errors import A2AError
from a2a_core.evaluate import moved
from a2a_core.structures import Sample, TextTarget

if TYPE_CHECKING:
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Parts

GREEDY: Final[Mapping[str, Any]] = {"max_new_tokens": 256, "do_sample": False}
"""What is generated with where nothing else is said."""


def text_heads(parts: Parts) -> list[str]:
    """The heads whose predictions are text that is generated."""
    return [key for key, head in parts.heads.items() if isinstance(head.processor(), TextTarget)]


def generate(model: A2AModel, collate: Collate, samples: Sequence[Sample], **options: Any) -> list[str]:
    """What follows each sample's text; `options` are those of transformers' `generate`.

    A text ends at the latest where the model has no more positions. Where that comes into sight samples go one by one, so
    that a long one takes no room from its neighbours.
    """
    text = model.parts.fusion.processor()
    assert text is not None, "only a fusion with a vocabulary has heads that predict text"
    stop = {"eos_token_id": list(collate.stop)} if collate.stop else {}
    given = {**GREEDY, **stop, **options}
    device = next(model.parameters()).device
    found: list[str] = []
    for together in fitting(samples, text.max_length, given["max_new_tokens"]):
        inputs = moved(collate(together)["inputs"], device)
        most = room(inputs["text"]["lengths"], text.max_length, given["max_new_tokens"])
        written = model.generate(inputs, **{**given, "max_new_tokens": most})
        found += [text.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
    return found


def fitting(samples: Sequence[Sample], positions: int | None, asked: int) -> list[list[Sample]]:
    """Samples that are written to together: all of them, or where one may reach the end of the positions each alone."""
    lengths = [0 if sample.text is None else sample.text.length for sample in samples]
    if room(lengths, positions, asked) < asked:
        return [[sample] for sample in samples]
    return [list(samples)] if samples else []


def room(lengths: Sequence[int], positions: int | None, asked: int) -> int:
    """Tokens that may be written behind the longest of some texts; the last one written needs no position."""
    return asked if positions is None else min(asked, positions - max(lengths, default=0) + 1)


def sampling(
    temperature: float | None = None, top_p: float | None = None, top_k: int | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Options of `generate`: greedy, unless anything of chance is asked for; then nothing else limits the choice."""
    asked = {"top_p": top_p, "top_k": top_k, "seed": seed}
    given = [name.replace("_", "-") for name, value in asked.items() if value is not None]
    if temperature == 0 and given:
        raise A2AError(f"a temperature of 0 leaves nothing to chance, and `{given[0]}` says how to choose by it")
    if not temperature and not given:
        return {}
    return {
        "do_sample": True,
        "temperature": 1.0 if temperature is None else temperature,
        "top_p": 1.0 if top_p is None else top_p,
        "top_k": top_k or 0,
    }

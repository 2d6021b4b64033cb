"""The head `lm`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core import A2AError, HeadConfig, TextTarget, Widths

if TYPE_CHECKING:
    from torch import nn


class LmHead(HeadConfig):
    """The next token, by the output layer of the fusion's own language model, tied to its embeddings or not.

    What is supervised the collator finds in the text. Logits are not made here but by chunks in what asks for them, so that
    those of all tokens never exist together: outputs are `hidden` (S, C), the states at the S supervised places, and
    `unembed`, which makes logits of them. `a2a predict` and `a2a generate` write the text that follows.
    """

    name: ClassVar[str] = "lm"

    def processor(self) -> TextTarget:
        """The text itself is the target."""
        return TextTarget()

    def build(self, spec: Widths) -> nn.Module:
        """The module; A2AError behind a fusion that has no vocabulary."""
        from a2a_llm.lm_model import Lm

        if spec.vocabulary is None:
            raise A2AError("a head `lm` needs a fusion that owns a vocabulary, such as `causal-lm`")
        return Lm()

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """It has no options."""
        return cls()

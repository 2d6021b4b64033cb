"""The adapter `embeddings`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.components import AdapterConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn


class EmbeddingsAdapter(AdapterConfig):
    """New tokens of the fusion's language model; of its vocabulary their rows alone are trained.

    The text processor knows the tokens, and each gets a row in the input embeddings and, where that is a table of its own,
    in the output layer. It begins as the mean of all old rows, which stay as they are, bit for bit. The rest of the fusion is
    frozen, unless an adapter before this one says what is trained there: with `lora` both are. Other parts train as before.

        [[adapters]]
        use = "embeddings"
        tokens = ["<box>", "</box>"]

    To train new tokens and the whole language model, name them in `fusion.extra_tokens` instead.
    """

    name = "embeddings"
    adds: ClassVar[bool] = True
    tokens: tuple[str, ...] = option("what the vocabulary gets; a text that has one of them becomes its id")

    def check(self) -> None:
        """Something to add."""
        if not self.tokens or not all(token.strip() for token in self.tokens):
            raise ValueError("`tokens` names no token" if not self.tokens else "`tokens` has one without a sign in it")

    def new_tokens(self) -> Sequence[str]:
        """See AdapterConfig.new_tokens."""
        return self.tokens

    def apply(self, model: nn.Module) -> None:
        """Give the tables their new rows, and freeze the old ones; A2AError where the fusion has no such tables."""
        from a2a_peft.new_rows import put_in

        put_in(self, model)

    def merge(self, model: nn.Module) -> None:
        """The new rows among the old ones."""
        from a2a_peft.new_rows import take_in

        take_in(model)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two tokens."""
        return cls(tokens=("<box>", "</box>"))

"""The encoder `dummy`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from a2a_core.components import EncoderConfig
from a2a_core.options import option
from a2a_core.structures import Item

if TYPE_CHECKING:
    from torch import Tensor, nn


class DummyEncoder(EncoderConfig):
    """The same few learned tokens for whatever stands in the field: to try a recipe out while an encoder or a file is missing.

    No medium is opened and nothing of it is looked at; that a row has one is all that a dummy tells. What a model reaches
    with a dummy in an encoder's place, it reaches without that encoder's content.

    Shapes: N media to (N, tokens, width).
    """

    name: ClassVar[str] = "dummy"
    width: int = option("channels of a token", default=32, ge=1)
    tokens: int = option("tokens of a medium", default=4, ge=1)

    def processor(self) -> DummyProcessor:
        """Anything to an Item that says only that it is there."""
        return DummyProcessor(self.tokens)

    def build(self) -> nn.Module:
        """The learned tokens."""
        from a2a_core.builtin.dummy_model import DummyTokens

        return DummyTokens(self.tokens, self.width)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Values of any kind."""
        return ["a.mp4", 3, {"x": [1.0]}]

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three tokens of eight channels."""
        return cls(width=8, tokens=3)


class DummyProcessor:
    """Raw medium -> Item; reads nothing."""

    deterministic = True

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, raw: Any) -> Item:
        """`there` (): a one."""
        return self.dummy()

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`there` (N,)."""
        import torch

        return {"there": torch.stack([item.tensors["there"] for item in items])}

    def dummy(self) -> Item:
        """As any other."""
        import torch

        return Item({"there": torch.ones(())}, self.tokens)

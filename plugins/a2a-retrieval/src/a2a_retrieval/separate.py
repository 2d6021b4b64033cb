"""Fusion `separate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from a2a_core.components import FusionConfig

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.data import Collate
    from a2a_core.export import Exporter
    from a2a_core.model import A2AModel


class Separate(FusionConfig):
    """Nothing is mixed: each encoder's tokens stay by themselves, as wide as they are, for heads that compare encoders.

    `parts`: the tokens of every encoder, by item. There is no pooled vector and no sequence of all, and nothing to train.
    """

    name = "separate"

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module, without parameters."""
        from a2a_retrieval.separate_model import SeparateModel

        return SeparateModel()

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """`clip` and `sentence-transformers`."""
        from a2a_retrieval.exports import formats

        return formats(model)

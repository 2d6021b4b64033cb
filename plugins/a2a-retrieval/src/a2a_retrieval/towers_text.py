"""Strings to the ids of a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a2a_core import Item
from a2a_text.tokenization import TextProcessor

if TYPE_CHECKING:
    from torch import Tensor


class TowerText(TextProcessor):
    """A string -> `input_ids` (T,), int64, of which the tower makes one token.

    `padded`: to `max_length` always, for a tower that sees its padding.
    """

    def __init__(self, *arguments: Any, padded: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.padded = padded

    def __call__(self, raw: Any) -> Item:
        """As TextProcessor does it."""
        return Item(super().__call__(raw).tensors, 1)

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`input_ids` (N, T), padded on the right."""
        from torch.nn.functional import pad

        input_ids = super().pad(items)["input_ids"]
        missing = (self.max_length or 0) - input_ids.shape[1] if self.padded else 0
        return {"input_ids": pad(input_ids, (0, missing), value=self.pad_id)}

"""What losses ask of a head: that it embeds queries and documents."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.errors import A2AError


def sides_of(loss: LossConfig, head: HeadConfig, *, negatives: bool = False) -> Mapping[str, str]:
    """The encoder of each side of a head; A2AError for one that has no sides, or no `negative` where that is needed."""
    ask = getattr(head, "sides", None)
    if ask is None:
        raise A2AError(
            f"the loss `{loss.name}` judges a head that embeds queries and documents (`embedding`, `multi-vector`), and "
            f"`heads.{loss.head}` is `{head.name}`"
        )
    sides: Mapping[str, str] = ask()
    if negatives and not sides.get("negative"):
        raise A2AError(
            f"the loss `{loss.name}` compares a positive with the row's negatives, and `heads.{loss.head}` reads none",
            hint=f"name the encoder of them: `negatives` of `[heads.{loss.head}]`",
        )
    return sides

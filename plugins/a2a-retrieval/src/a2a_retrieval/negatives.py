"""Losses that cannot do without a row's own negatives."""

from __future__ import annotations

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_retrieval.sides import sides_of


def with_negatives(loss: LossConfig, head: HeadConfig) -> dict[str, str]:
    """The sides of the head that a loss judges, the negatives among them; A2AError where it reads none."""
    sides = sides_of(loss, head)
    if "negative" not in sides:
        raise A2AError(
            f"the loss `{loss.name}` compares a positive with the row's own negatives, and `heads.{loss.head}` reads none",
            hint=f"name their encoder: `negatives` of [heads.{loss.head}]",
        )
    return sides

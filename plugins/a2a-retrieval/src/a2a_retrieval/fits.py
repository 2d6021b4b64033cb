"""Which heads a loss can judge, beyond those that embed queries and documents."""

from __future__ import annotations

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_retrieval.multi_vector import MultiVectorHead
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


def with_one_vector(loss: LossConfig, head: HeadConfig, option: str) -> dict[str, str]:
    """The same; A2AError for one that makes a vector a token."""
    sides = sides_of(loss, head)
    if isinstance(head, MultiVectorHead):
        raise A2AError(
            f"the loss `{loss.name}` with `{option}` compares one vector an item, and those of `heads.{loss.head}` "
            f"(`{head.name}`) are one a token"
        )
    return sides


def with_many_vectors(loss: LossConfig, head: HeadConfig) -> dict[str, str]:
    """The same; A2AError for one that makes a vector an item."""
    sides = sides_of(loss, head)
    if not isinstance(head, MultiVectorHead):
        raise A2AError(
            f"the loss `{loss.name}` compares token by token (`multi-vector`), and those of `heads.{loss.head}` "
            f"(`{head.name}`) are one vector an item",
            hint='`use = "infonce"` judges it',
        )
    return sides

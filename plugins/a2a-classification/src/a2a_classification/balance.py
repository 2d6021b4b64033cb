"""What the losses that weigh classes have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, cast

import attrs

from a2a_classification.fits import names_of
from a2a_classification.labels import stranger
from a2a_core.components import Column, HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

Balance = Literal["none", "effective-number", "inverse-frequency"]


class BalancedLoss(LossConfig):
    """A loss whose classes weigh what the recipe says, or more the rarer they are in the training rows."""

    class_weights: dict[str, float] = option("class = its weight; classes that are not named weigh 1", default={})
    balance: Balance = option(
        "learn the classes' weights from the training rows: 1 / the effective number of each one's rows, or 1 / their number",
        default="none",
    )
    beta: float = option("of `effective-number`: it grows to 1 / (1 - beta); 0 weighs all alike", default=0.999, ge=0, lt=1)

    def check(self) -> None:
        """Weights that are numbers, and said once."""
        numbers(self.class_weights)
        if self.class_weights and self.balance != "none":
            raise ValueError("`class_weights` and `balance` both say what the classes weigh: leave one out")

    def resolved(self, head: HeadConfig, column: Column) -> Self:
        """With the weights that `balance` asks for in `class_weights`: a saved model needs no training rows."""
        if self.balance == "none":
            return self
        names = names_of(self, head)
        weights = rarity(frequencies(self, head, column), self.balance, self.beta)
        copy: Self = attrs.evolve(cast("Any", self), class_weights=dict(zip(names, weights, strict=True)), balance="none")
        return copy

    def weights_of(self, names: Sequence[str]) -> tuple[float, ...] | None:
        """Each class's weight; None where all weigh 1. A2AError for a class that the head has not."""
        if self.balance != "none":
            raise A2AError(f"the loss `{self.name}` learns `balance` from training rows, and has seen none yet")
        return named(self.class_weights, "class_weights", self.head, names)


def numbers(weights: dict[str, float]) -> None:
    """ValueError for a weight that is negative or not finite."""
    for name, weight in weights.items():
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"the weight of class `{name}` must be a number >= 0, got {weight}")


def named(weights: dict[str, float], option: str, head: str, names: Sequence[str]) -> tuple[float, ...] | None:
    """Each class's weight; None where none is named."""
    for name in weights:
        if name not in names:
            raise A2AError(f"`{option}`, head `{head}`: {stranger(name, names)}")
    if not weights:
        return None
    found = tuple(weights.get(name, 1.0) for name in names)
    if not any(found):
        raise A2AError(f"`{option}` makes every class of head `{head}` weigh 0: nothing would be learned")
    return found


def frequencies(loss: LossConfig, head: HeadConfig, column: Column) -> list[int]:
    """Training rows that have each class or label; those with a wrong one are left for their own error."""
    counts = [0] * len(names_of(loss, head))
    for target in targets(head, column):
        for number in [target] if isinstance(target, int) else [place for place, said in enumerate(target) if said]:
            counts[number] += 1
    if not any(counts):
        raise ValueError(f"`balance` counts the classes of head `{loss.head}`, and no training row has one")
    return counts


def targets(head: HeadConfig, column: Column) -> Iterable[Any]:
    """The encoded targets of the training rows that have one."""
    processor, field = head.processor(), getattr(head, "field", None)
    assert processor is not None, "a head that tells classes apart encodes them"
    assert field is not None, "a head that tells classes apart has a `field`"
    for value in column(field):
        try:
            target = processor({field: value})
        except ValueError:
            continue
        if target is not None:
            yield target


def rarity(counts: Sequence[int], balance: Balance, beta: float) -> list[float]:
    """Weights that add up to the number of classes: 1 / E(n) for a class of n rows (arXiv 1901.05555, section 4).

    E(n) = (1 - beta^n) / (1 - beta), or n itself, its limit for beta -> 1. A class that no row has weighs 1.
    """
    if balance == "effective-number":
        effective = [
            -math.expm1(count * math.log(beta)) / (1 - beta) if beta and count else float(count > 0) for count in counts
        ]
    else:
        effective = [float(count) for count in counts]
    rare = [1 / each if each else 0.0 for each in effective]
    scale = sum(each > 0 for each in rare) / sum(rare)
    return [each * scale if each else 1.0 for each in rare]

"""The head `classify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import attrs

from a2a_classification.labels import LabelProcessor, are_numbers, in_order, learned, numbered
from a2a_core.components import Column, HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from torch import nn


class ClassifyHead(HeadConfig):
    """One class a sample, from the fusion's pooled vector: `logits` (B, classes).

    A label is text, a whole number or a truth value; its text is compared with the names of the classes. Without
    `classes` they are learned from the training rows, sorted (numbers by size), and kept in the saved model; `classes = 10`
    stands for `0` to `9`. A row without a label trains nothing here. The target is `label` (B,), -100 without a label.
    """

    name = "classify"
    field: str = option("the row's field that holds the label", default="label")
    classes: tuple[str, ...] | int | None = option(
        "the names, or how many (then 0, 1, 2 …); default: those of the training rows", default=None, ge=2
    )
    hidden_size: int = option("channels of a hidden layer before the classes; 0: none", default=0, ge=0)
    dropout: float = option("share of channels dropped before each layer, in training", default=0.0, ge=0, lt=1)

    def check(self) -> None:
        """At least two classes, each once."""
        if not isinstance(self.classes, tuple):
            return
        name, times = Counter(self.classes).most_common(1)[0] if self.classes else ("", 0)
        if times > 1:
            raise ValueError(f"`classes` names `{name}` twice")
        if len(self.classes) < 2:
            raise ValueError(f"`classes` must name at least two, got {len(self.classes)}")
        if "" in self.classes:
            raise ValueError("`classes` has an empty name")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class 0, 1, 2 …; A2AError while they are to be learned."""
        if self.classes is None:
            raise A2AError(f"the classes of field `{self.field}` are not known yet: they are learned from training rows")
        return self.classes if isinstance(self.classes, tuple) else tuple(map(str, range(self.classes)))

    @property
    def ordered(self) -> bool:
        """Whether the order of the classes means something: that of numbers by their size does."""
        return are_numbers(names := self.class_names) and names == in_order(names)

    def resolved(self, column: Column) -> Self:
        """With the names of the classes, learned or compared with the training rows."""
        if isinstance(self.classes, tuple):
            return self
        labels = column(self.field)
        names = learned(self.field, labels) if self.classes is None else numbered(self.field, self.classes, labels)
        copy: Self = attrs.evolve(cast("Any", self), classes=names)
        return copy

    def processor(self) -> LabelProcessor:
        """A label -> the number of its class."""
        return LabelProcessor(self.field, self.class_names)

    def describe(self, target: int) -> str:
        """The class's name."""
        return self.class_names[target]

    def build(self, spec: Widths) -> nn.Module:
        """`pooled` (B, C) -> `logits` (B, classes)."""
        from a2a_classification.classify_model import Classifier

        if spec.width is None:
            raise A2AError("the head `classify` reads the fusion's pooled vector, and this fusion makes none")
        return Classifier(spec.width, self.class_names, self.hidden_size, self.dropout)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Classes to be learned, and a hidden layer."""
        return cls(hidden_size=8)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Each class once, three at the most."""
        names = ("cat", "dog", "owl") if self.classes is None else self.class_names
        return [{self.field: name} for name in names[:3]]

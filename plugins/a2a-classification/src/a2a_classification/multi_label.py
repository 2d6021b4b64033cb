"""The head `multi-label`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import attrs

from a2a_classification.label_sets import LabelSetProcessor, learned_labels
from a2a_core.components import Column, HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from torch import nn


class MultiLabelHead(HeadConfig):
    """Any number of labels a sample, each a question of its own, from the fusion's pooled vector: `logits` (B, labels).

    The field holds a list of names, and what is not in it does not apply (an empty list: nothing does); or a table of name =
    0 or 1, where what is not in it, or null, is unknown and counts nothing; or, with a `separator`, a text. Without `classes`
    the names are learned from the training rows, sorted, and kept in the saved model. A label is predicted where its
    probability is at least `threshold`; metrics judge these very choices. The targets are `labels` (B, labels), 1 where one
    applies, and `known` (B, labels), false where a row does not say.
    """

    name = "multi-label"
    field: str = option("the row's field that holds the labels", default="labels")
    classes: tuple[str, ...] | int | None = option(
        "the names, or how many (then 0, 1, 2 …); default: those of the training rows", default=None, ge=1
    )
    separator: str = option("what stands between the labels of a text, such as `,` (empty: a text is no list)", default="")
    threshold: float = option("probability from which on a label is predicted", default=0.5, gt=0, lt=1)
    hidden_size: int = option("channels of a hidden layer before the labels; 0: none", default=0, ge=0)
    dropout: float = option("share of channels dropped before each layer, in training", default=0.0, ge=0, lt=1)

    def check(self) -> None:
        """At least one label, each once."""
        if not isinstance(self.classes, tuple):
            return
        name, times = Counter(self.classes).most_common(1)[0] if self.classes else ("", 0)
        if times > 1:
            raise ValueError(f"`classes` names `{name}` twice")
        if not self.classes or "" in self.classes:
            raise ValueError("`classes` has an empty name" if self.classes else "`classes` must name at least one")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of label 0, 1, 2 …; A2AError while they are to be learned."""
        if self.classes is None:
            raise A2AError(f"the labels of field `{self.field}` are not known yet: they are learned from training rows")
        return self.classes if isinstance(self.classes, tuple) else tuple(map(str, range(self.classes)))

    def resolved(self, column: Column) -> Self:
        """With the names of the labels."""
        if self.classes is not None:
            return self
        names = learned_labels(self.field, column(self.field), self.separator)
        copy: Self = attrs.evolve(cast("Any", self), classes=names)
        return copy

    def processor(self) -> LabelSetProcessor:
        """A row's labels -> which apply."""
        return LabelSetProcessor(self.field, self.label_names, self.separator)

    def describe(self, target: Sequence[bool | None]) -> str:
        """The labels that apply; those that the row does not speak of have a question mark."""
        said = zip(self.label_names, target, strict=True)
        return ", ".join(f"{name}?" if applies is None else name for name, applies in said if applies is not False) or "none"

    def build(self, spec: Widths) -> nn.Module:
        """`pooled` (B, C) -> `logits` (B, labels)."""
        from a2a_classification.multi_label_model import MultiLabelClassifier

        if spec.width is None:
            raise A2AError("the head `multi-label` reads the fusion's pooled vector, and this fusion makes none")
        return MultiLabelClassifier(spec.width, self.label_names, self.threshold, self.hidden_size, self.dropout)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Labels to be learned, and a hidden layer."""
        return cls(hidden_size=8)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Two labels, one, none, and a table that does not say all."""
        names = ("cat", "dog", "owl") if self.classes is None else self.label_names
        return [{self.field: found} for found in (list(names[:2]), list(names[-1:]), [], {names[0]: 0})]

"""The loss `distillation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class Distillation(SidesLoss):
    """What a teacher thinks of documents, learned by a student, in float32. The teacher is one of

    - the row's `teacher_scores`, of its positive and its negatives: the divergence KL(teacher || student) of softmaxes over
      these, times the square of the student's temperature (arXiv 1503.02531, section 2), a mean over rows;
    - `teacher`, another head that embeds, over frozen encoders: the same over all documents of the step, those of other rows
      and ranks too, a mean over pairs, or over both directions if it is symmetric;
    - with `match = "embeddings"` that head's vectors themselves, by their distance: a mean over all queries and documents.
      They need as many channels as the student's.

    Rows without a teacher's scores, or without the documents to compare, do not count. Nothing of the teacher learns.
    """

    name = "distillation"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("distillation",)
    teacher: str = option("the head that is the teacher (empty: the row's `teacher_scores`)", default="", refers_to="heads")
    match: Literal["scores", "embeddings"] = option("what is compared with a teacher head's", default="scores")
    distance: Literal["mse", "cosine"] = option("of embeddings: mean square over channels, or 1 - cosine", default="mse")
    temperature: float = option("what the student's scores are divided by", default=1.0, gt=0)
    teacher_temperature: float | None = option(
        "what the teacher's scores are divided by (none: `temperature`)", default=None, gt=0
    )
    symmetric: bool = option("documents look for their queries, too, with a teacher head", default=False)

    def check(self) -> None:
        """What is asked of a teacher head needs one, another than the student."""
        if self.teacher == self.head:
            raise ValueError(f"the head `{self.head}` cannot be its own `teacher`")
        if self.match == "embeddings" and not self.teacher:
            raise ValueError('`match = "embeddings"` needs `teacher`, a head: a row has the scores of its teacher alone')
        if self.symmetric and (self.match == "embeddings" or not self.teacher):
            raise ValueError("`symmetric` is for scores of a `teacher` head, over all documents of a step")

    def beside(self) -> Mapping[str, str]:
        """The teacher's outputs."""
        return {"teacher": self.teacher} if self.teacher else {}

    def least(self) -> int:
        """Two, where rows are compared with one another."""
        return 2 if self.teacher and self.match == "scores" else 1

    def build(self, head: HeadConfig) -> nn.Module:
        """The module; A2AError for a head that does not embed, or has nothing to choose among."""
        from a2a_retrieval.distillation_model import Embeddings, HeadScores, RowScores

        sides = self.sides_of(head) if self.teacher else self.sides_with_negatives(head)
        if self.match == "embeddings":
            self.refuse_many_vectors(head, 'match = "embeddings"')
            return Embeddings(sides, self.distance)
        temperatures = self.temperature, self.teacher_temperature or self.temperature
        return HeadScores(sides, *temperatures, self.symmetric) if self.teacher else RowScores(sides, *temperatures)

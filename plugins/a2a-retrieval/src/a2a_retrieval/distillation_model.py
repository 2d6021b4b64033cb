"""The modules of the loss `distillation`, one a kind of teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_retrieval.in_batch_model import InBatch
from a2a_retrieval.own_documents import SIDES, held, judged, offered, paired, rated, slots
from a2a_retrieval.scoring import full_precision, wide
from a2a_retrieval.step_documents import to_documents, to_queries


class RowScores(nn.Module):
    """Divergences over a row's own documents, and the rows that have two with a score."""

    def __init__(self, sides: Mapping[str, str], temperature: float, teacher_temperature: float) -> None:
        super().__init__()
        self.sides, self.temperature, self.teacher_temperature = dict(sides), temperature, teacher_temperature

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rows whose positive and one negative at least were scored."""
        _, known = rated(targets["teacher"], offered(inputs, self.sides))
        return {"distillation": known[:, 1:].any(1).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any, a 0 that depends on the outputs."""
        with full_precision(outputs["query"]):
            scores, there = judged(outputs)
            teacher, known = rated(targets["teacher"], there)
            each = divergence(scores / self.temperature, teacher / self.teacher_temperature, known)
            return {"distillation": self.temperature**2 * each.sum()}


class HeadScores(InBatch):
    """Divergences over all documents of the step, and the pairs."""

    def __init__(self, sides: Mapping[str, str], temperature: float, teacher_temperature: float, symmetric: bool) -> None:
        super().__init__("distillation", sides)
        self.temperature, self.teacher_temperature, self.symmetric = temperature, teacher_temperature, symmetric

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of this rank's pairs; without any, a 0 that depends on the outputs."""
        self.watch()
        teacher = beside(outputs)
        with full_precision(outputs["query"]):
            each = self.compared(to_documents(outputs), to_documents(teacher))
            if self.symmetric:
                each = (each + self.compared(to_queries(outputs), to_queries(teacher))) / 2
            return {"distillation": self.temperature**2 * each.masked_fill(~paired(outputs), 0).sum()}

    def compared(self, student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> Tensor:
        """Scores (B, M), and of what (M,)."""
        return divergence(student[0] / self.temperature, teacher[0] / self.teacher_temperature, student[1])


class Embeddings(nn.Module):
    """Distances of vectors, and how many there are."""

    beside_is_cut = True
    """A student's first channels are compared with as many of the teacher's (see `matryoshka`)."""

    def __init__(self, sides: Mapping[str, str], distance: str) -> None:
        super().__init__()
        self.sides, self.distance = {side: name for side, name in sides.items() if name}, distance

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Queries, positives and negatives, each by itself."""
        return {"distillation": torch.stack([slots(inputs[name], inputs["size"]).sum() for name in self.sides.values()]).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any, a 0 that depends on the outputs; A2AError where the teacher's have another shape."""
        teacher = beside(outputs)
        with full_precision(outputs["query"]):
            return {"distillation": torch.stack([self.apart(outputs, teacher, side) for side in self.sides]).sum()}

    def apart(self, outputs: Mapping[str, Tensor], teacher: Mapping[str, Tensor], side: str) -> Tensor:
        """The sum of distances on one side."""
        one, other = wide(outputs[side]), wide(teacher[side])
        if one.shape != other.shape:
            raise A2AError(
                f"the loss `distillation` compares embeddings, and those of its teacher have another shape: {side} "
                f"{tuple(one.shape)} against {tuple(other.shape)}",
                hint='a head of as many channels (`dimension`); or `match = "scores"`, which any two heads can be compared by',
            )
        gap = (one - other).square().mean(-1) if self.distance == "mse" else 1 - F.cosine_similarity(one, other, dim=-1)
        return gap.masked_fill(~held(outputs, side), 0).sum()


def beside(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The teacher's outputs, to which no gradient goes back; A2AError where it lacks an item that the student has."""
    teacher = {name: outputs[f"teacher/{name}"].detach() for side in SIDES for name in (side, f"{side}_mask")}
    for side in SIDES:
        one, other = held(outputs, side), held(teacher, side)
        if one.shape != other.shape or not (unreal(one) or torch.equal(one, other)):
            raise A2AError(
                f"the teacher of the loss `distillation` has not read what the student has: the two heads' {side} items differ",
                hint="each encoder of the teacher head reads the `field` of the student's; both have `negatives`, or neither",
            )
    return teacher


def unreal(tensor: Tensor) -> bool:
    """It has no values: on the meta device, or a stand-in that a deep check traces."""
    return tensor.is_meta or isinstance(tensor, FakeTensor)


def divergence(student: Tensor, teacher: Tensor, known: Tensor) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) a row (B, M) over what is `known`, (B, M) or (M,); 0 where nothing is: (B,)."""
    lowest = torch.finfo(student.dtype).min
    student, teacher = (each.masked_fill(~known, lowest).log_softmax(1) for each in (student, teacher.to(student.dtype)))
    return (teacher.exp() * (teacher - student)).masked_fill(~known, 0).sum(1)

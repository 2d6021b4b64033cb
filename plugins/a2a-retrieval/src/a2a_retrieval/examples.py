"""What losses show the testing kit: random vectors of rows with negatives, scores and a teacher's; the last has no positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from a2a_core.components import HeadConfig
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.multi_vector import MultiVectorHead

if TYPE_CHECKING:
    from torch import Tensor

HEAD = EmbeddingHead(query="image", positive="audio", negatives="noise", dimension=8)
LATE = MultiVectorHead(query="image", positive="audio", negatives="noise", dimension=8)
NEGATIVES = 2
"""Of a row; every third has but one, and its other place is padding."""


def examples(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """The head, and outputs and targets of so many samples; the first two have one query."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(0)
    query, positive, *negatives = F.normalize(torch.randn(2 + NEGATIVES, size, 8, generator=generator), dim=-1)
    place = torch.arange(size)
    full = torch.stack([place >= 0, place % 3 > 0], 1)
    outputs = {
        "query": query,
        "query_mask": place >= 0,
        "positive": positive,
        "positive_mask": place < size - 1,
        "negative": torch.stack(negatives, 1) * full[..., None],
        "negative_mask": full,
    }
    teacher = torch.randn(size, 1 + NEGATIVES, generator=generator)
    targets = {
        "query_id": place.clamp(min=1),
        "positive_id": (size + place) * (place < size - 1),
        "negative_id": (2 * size + place)[:, None] * full,
        "score": torch.rand(size, generator=generator),
        "teacher": teacher.masked_fill(~torch.cat([place[:, None] < size - 1, full], 1), torch.nan),
        "relevant": torch.zeros(size, 0, dtype=torch.int64),
        "relevance": torch.zeros(size, 0),
    }
    return HEAD, outputs, targets


def many_vectors(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """The same, a vector a token, up to three of them."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(1)
    _, outputs, targets = examples(size)
    found: dict[str, Tensor] = {}
    for side in ("query", "positive", "negative"):
        here = outputs[f"{side}_mask"]
        mask = here[..., None] & (torch.arange(3) < torch.randint(1, 4, (*here.shape, 1), generator=generator))
        vectors = F.normalize(torch.randn(*mask.shape, 8, generator=generator), dim=-1)
        found |= {side: vectors * mask[..., None], f"{side}_mask": mask}
    return LATE, found, targets


def example_inputs(size: int, samples: Sequence[int]) -> Mapping[str, Any]:
    """Which of the samples have which items."""
    import torch

    def media(*items: tuple[int, int]) -> dict[str, Any]:
        row, slot = torch.tensor(items, dtype=torch.int64).view(-1, 2).unbind(1)
        return {"row": row, "slot": slot, "slots": int(slot.max()) + 1 if len(slot) else 1}

    numbered = list(enumerate(samples))
    return {
        "size": len(samples),
        "image": media(*((place, 0) for place, _ in numbered)),
        "audio": media(*((place, 0) for place, sample in numbered if sample < size - 1)),
        "noise": media(*((place, slot) for place, sample in numbered for slot in range(2 if sample % 3 else 1))),
    }

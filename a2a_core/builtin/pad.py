"""The collator `pad`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from a2a_core.components import CollatorConfig
from a2a_core.structures import Batch, Processor, Sample, TargetProcessor, TextProcessor


class PadCollator(CollatorConfig):
    """Pads each modality to its longest item in the batch.

    A modality that no sample of the batch has is stood in for by one dummy item that no row points to, so that its encoder
    runs on every rank all the same.
    """

    name = "pad"

    def build(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        lengths: Mapping[str, Callable[[int], int]],
        text: TextProcessor | None = None,
        modalities: Mapping[str, str] = MappingProxyType({}),
    ) -> Callable[[Sequence[Sample]], Batch]:
        """See CollatorConfig.build."""
        return Pad(processors, targets)


class Pad:
    """Samples, at least one, to a batch."""

    def __init__(self, processors: Mapping[str, Processor], targets: Mapping[str, TargetProcessor]) -> None:
        self.processors, self.targets = processors, targets

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Pad and stack."""
        inputs: dict[str, Any] = {"size": len(samples)}
        for key in self.processors:
            inputs[key] = self.media(samples, key)
        targets = {key: target.pad([sample.targets.get(key) for sample in samples]) for key, target in self.targets.items()}
        return {"inputs": inputs, "targets": targets, "ids": [sample.row.id for sample in samples]}

    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        """One modality: its items' tensors, and for each item its sample (`row`) and its place there (`slot`)."""
        import torch

        placed = [
            (row, slot, item) for row, sample in enumerate(samples) for slot, item in enumerate(sample.items.get(key, ()))
        ]
        processor = self.processors[key]
        return {
            "tensors": processor.pad([item for _, _, item in placed] or [processor.dummy()]),
            "row": torch.tensor([row for row, _, _ in placed], dtype=torch.long),
            "slot": torch.tensor([slot for _, slot, _ in placed], dtype=torch.long),
            "slots": 1 + max((slot for _, slot, _ in placed), default=0),
        }

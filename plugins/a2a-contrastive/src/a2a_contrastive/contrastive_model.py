"""The module of the loss `contrastive`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_contrastive.align_model import present
from a2a_core.errors import A2AError
from a2a_core.gathering import all_rows
from a2a_core.ranks import together

LONELY = 100
"""Steps in a row without two pairs: no chance any more."""


class Contrastive(nn.Module):
    """Totals over a batch, and what they are to be divided by; `lowest` None: the temperature is fixed."""

    def __init__(self, modalities: tuple[str, str], temperature: float, lowest: float | None) -> None:
        super().__init__()
        self.modalities, self.lonely = modalities, 0
        self.most = math.inf if lowest is None else -math.log(lowest)
        start = torch.full((1,), -math.log(temperature))
        if lowest is None:
            self.register_buffer("logit_scale", start)
        else:
            self.logit_scale = nn.Parameter(start)

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Samples that have both modalities."""
        rows = [inputs[name]["row"] for name in self.modalities]
        one, other = (present(row, inputs["size"], row.device) for row in rows)
        pairs = (one & other).sum()
        self.watch(int(pairs))
        return {"contrastive": pairs}

    def watch(self, pairs: int) -> None:
        """A2AError where no step of this only rank has anything to compare."""
        if not self.training or together():
            return
        self.lonely = 0 if pairs > 1 else self.lonely + 1
        if self.lonely == LONELY:
            first, second = self.modalities
            raise A2AError(
                f"the loss `contrastive` compares pairs of `{first}` and `{second}`, and for {LONELY} steps there was at most "
                "one: nothing is learned",
                hint="raise `trainer.batch_size`, or train on more rows that have both",
            )

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over this rank's pairs, each among those of all ranks; without any, a 0 that depends on the outputs."""
        kind = outputs["first"].device.type
        with torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False):
            first, second = outputs["first"].float(), outputs["second"].float()
            (firsts, seconds, pairs), start = all_rows(first, second, outputs["both"])
            scale = self.scale()
            there = sought(scale * first @ seconds.T, pairs, start)
            back = sought(scale * second @ firsts.T, pairs, start)
            return {"contrastive": ((there + back) / 2).masked_fill(~outputs["both"], 0).sum()}

    def scale(self) -> Tensor:
        """1 / temperature; as in CLIP the parameter itself is held back, so that it can turn around at the bound."""
        if self.training and isinstance(self.logit_scale, nn.Parameter):
            with torch.no_grad():
                self.logit_scale.clamp_(max=self.most)
        return self.logit_scale.float().clamp(max=self.most).exp()


def sought(logits: Tensor, pairs: Tensor, start: int) -> Tensor:
    """-log of the probability that row i (B, columns) gives to column start + i, among the columns that are pairs: (B,)."""
    logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    own = start + torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own, reduction="none")

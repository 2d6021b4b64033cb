"""The module of the encoder `hf-multimodal`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig

from a2a_core import Tokens
from a2a_llm.chunks import unreal
from a2a_llm.documents import Documents, behind, disable, side_by_side
from a2a_llm.hf_multimodal_decoder import DrivenModel, Dummies, deep
from a2a_llm.hf_multimodal_rows import Rows, blank, filled, gathered
from a2a_llm.hf_multimodal_towers import TOWERS


class HfMultimodalEncoderModel(DrivenModel):
    """A multimodal model without its output layer. It reads texts and each of its modalities, a batch all of one.

    `dummy` is the row of one dummy item, which the tower runs on where there are texts alone: all of its parameters are in
    the graph of each pass.
    """

    def __init__(self, config: PretrainedConfig, dummies: Dummies, dummy: Rows, layout: str = "auto", layer: int = -1) -> None:
        super().__init__(config, dummies, layout, bare=True, layer=layer)
        self.blank = blank(dummy)

    def forward(self, input_ids: Tensor, positions: Tensor, num_tokens: Any, own: Any, **media: Any) -> Tokens:
        """Ids (N, T), positions (N, T) or (N, T, 3), and as numbers each item's tokens (N,) and its medium's places (N, T)."""
        real = not unreal(input_ids)
        documents = lengths_of(input_ids, num_tokens, real)
        rows = media or filled(self.blank, input_ids.device)
        layout = self.family.layout
        features = TOWERS[layout](self.model, {"medium": gathered(layout, rows, real)})
        found = features["medium"].values
        places = places_of(input_ids, own, documents, len(found) if media else 0, real)
        embedded: Tensor = self.model.get_input_embeddings()(behind(input_ids, documents))
        self.refuse_leaks(embedded)
        embedded = embedded.index_copy(0, places, found[: len(places)].to(embedded.dtype))
        line = behind(positions, documents)
        hidden = self.states_of(
            self.layer, embedded, line if line.dim() == 1 else line.T, documents, deep(features, {"medium": places})
        )
        values, mask = side_by_side(hidden, documents)
        return Tokens(values, mask.bool())


@disable
def lengths_of(input_ids: Tensor, num_tokens: Any, real: bool) -> Documents:
    """Each item's; of stand-ins all are as long as the longest."""
    count, longest = input_ids.shape
    return Documents(num_tokens.tolist() if real else [longest] * count)


@disable
def places_of(input_ids: Tensor, own: Any, documents: Documents, several: int, real: bool) -> Tensor:
    """The media's places in items that lie one behind the other; of stand-ins so many places, whichever."""
    if not real or not several:
        return torch.arange(several, device=input_ids.device)
    rows = [row[:length] for row, length in zip(own, documents.lengths, strict=True)]
    return torch.from_numpy(np.concatenate(rows).nonzero()[0]).to(input_ids.device, non_blocking=True)

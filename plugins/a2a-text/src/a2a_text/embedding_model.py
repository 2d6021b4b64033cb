"""The module of the `embedding` encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from a2a_core import Tokens


class EmbeddingModel(nn.Module):
    """Embeddings + learned positions -> pre-norm transformer layers -> layer norm."""

    def __init__(self, *, vocabulary: int, width: int, layers: int, num_heads: int, max_length: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.embeddings = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(max_length, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, num_heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embeddings.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        """(N, T) ids and bool mask -> (N, T, width)."""
        hidden = self.dropout(self.embeddings(input_ids) + self.positions[: input_ids.shape[1]])
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=~attention_mask)
        return Tokens(self.norm(hidden), attention_mask)

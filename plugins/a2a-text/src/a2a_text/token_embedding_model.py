"""The module of the `token-embedding` encoder."""

from __future__ import annotations

from torch import Tensor, nn

from a2a_core import Tokens


class TokenEmbeddingModel(nn.Module):
    """An embedding matrix (rows, columns), and a linear layer to `width` where one is given."""

    def __init__(self, rows: int, columns: int, width: int | None, freeze_matrix: bool) -> None:
        super().__init__()
        self.width = columns if width is None else width
        self.embeddings = nn.Embedding(rows, columns)
        self.embeddings.requires_grad_(not freeze_matrix)
        self.projection = nn.Identity() if width is None else nn.Linear(columns, width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        """(N, T) ids and bool mask -> (N, T, width), zero where there is no token."""
        values: Tensor = self.projection(self.embeddings(input_ids))
        return Tokens(values.masked_fill(~attention_mask[..., None], 0), attention_mask)

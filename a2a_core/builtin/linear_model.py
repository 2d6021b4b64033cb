"""The module of the projector `linear`."""

from torch import nn

from a2a_core.structures import Tokens


class LinearTokens(nn.Module):
    """A linear layer over tokens; their mask and places pass through."""

    def __init__(self, width: int, out: int, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out, bias=bias)

    def forward(self, tokens: Tokens) -> Tokens:
        """(N, T, width) -> (N, T, out)."""
        return tokens._replace(values=self.linear(tokens.values))

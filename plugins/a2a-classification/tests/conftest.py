import pytest
import torch

from a2a_core.structures import Fused


@pytest.fixture(autouse=True)
def seed():
    """The same random numbers in every test."""
    torch.manual_seed(0)


@pytest.fixture
def fused():
    """Four samples of width 6."""
    return Fused(4, pooled=torch.randn(4, 6))

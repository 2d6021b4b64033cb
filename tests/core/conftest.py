from collections.abc import Callable
from typing import Any

import pytest

from a2a_core.plugins import Catalog
from a2a_core.recipe import Parts, structure_parts

LOSS = '''
"""The loss of the tests."""
import torch
from torch import nn
from a2a_core import LossConfig


class Squared(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def count(self, inputs, targets):
        return {"squared": targets["value"].isfinite().sum()}

    def forward(self, outputs, targets):
        here = targets["value"].isfinite()
        wanted = torch.where(here, targets["value"], outputs["values"].detach())
        return {"squared": ((outputs["values"] - wanted) ** 2 * here).sum() * self.scale[0]}


class SquaredLoss(LossConfig):
    """Squared error."""

    name = "squared"
    terms = ("squared",)

    def build(self, head):
        return Squared()
'''


@pytest.fixture
def toy_parts(make_plugin: Any) -> Callable[..., Parts]:
    """A model's parts from the testing kit's smallest components; keywords replace tables."""
    reference = "a2a_core.testing.reference"
    make_plugin(
        "toy-parts",
        {
            "a2a_encoders": {"reference": f"{reference}:ReferenceEncoder"},
            "a2a_fusions": {"reference": f"{reference}:ReferenceFusion"},
            "a2a_heads": {"reference": f"{reference}:ReferenceHead"},
            "a2a_losses": {"squared": "toy_parts.loss:SquaredLoss"},
        },
        loss=LOSS,
    )

    def parts(**tables: Any) -> Parts:
        plain = {
            "encoders": {"left": {"use": "reference"}, "right": {"use": "reference", "width": 8}},
            "fusion": {"use": "reference"},
            "heads": {"number": {"use": "reference"}},
            "losses": {"fit": {"use": "squared", "head": "number"}},
        }
        return structure_parts(plain | tables, Catalog.installed())

    return parts

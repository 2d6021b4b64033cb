"""A model of the smallest components, on fake tensors and on real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from a2a_core import Batch, Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.deep.fakes import Fakes
from a2a_core.inference import Lines
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts

ROWS = ({"left": [1.0, 2.0, 3.0], "right": [0.5], "value": 1.0}, {"left": [1.5], "value": 2.0})


class Toy(NamedTuple):
    parts: Parts
    batch: Batch
    real: A2AModel
    fakes: Fakes
    fake: A2AModel


@pytest.fixture
def toy(toy_parts: Callable[..., Parts]) -> Toy:
    parts = toy_parts()
    data = prepare(Lines([Row(fields, str(place), Path(), "") for place, fields in enumerate(ROWS)]), parts)
    batch: Any = collator(PadCollator(), parts)([data[0], data[1]])
    torch.manual_seed(0)
    fakes = Fakes("cpu")
    return Toy(parts, batch, A2AModel.from_parts(parts), fakes, fakes.model(parts))

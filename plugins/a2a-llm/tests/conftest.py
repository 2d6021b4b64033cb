from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoConfig

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 97}


@pytest.fixture
def language_config() -> Callable[..., Any]:
    """Model type -> a small configuration."""
    return lambda model_type, **sizes: AutoConfig.for_model(model_type, **{**SMALL, "max_position_embeddings": 64, **sizes})


@pytest.fixture
def texts() -> Callable[..., dict[str, Any]]:
    """Rows of ids -> `inputs`."""
    return inputs_of


def inputs_of(*rows: list[int], media: dict[str, list[int]] | None = None) -> dict[str, Any]:
    """`inputs` of texts."""
    return {
        "size": len(rows),
        "text": {
            "ids": torch.tensor([each for row in rows for each in row]),
            "positions": torch.cat([torch.arange(len(row)) for row in rows]),
            "lengths": [len(row) for row in rows],
            "media": {key: torch.tensor(places) for key, places in (media or {}).items()},
        },
    }


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights each time."""
    torch.manual_seed(0)

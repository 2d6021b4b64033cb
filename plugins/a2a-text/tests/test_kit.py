from __future__ import annotations

import pytest

from a2a_core.testing import Check, checks, suite
from a2a_text.embedding import EmbeddingEncoder
from a2a_text.hf_text import HfTextEncoder

test_plugin = suite("a2a-text")

SIZES = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
T5 = {"vocab_size": 259, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
OTHERS = [
    EmbeddingEncoder(width=8, layers=0, num_heads=1, dropout=0.0),
    HfTextEncoder(config={"model_type": "llama", **SIZES}, layer=1, max_length=32, truncate=True),
    HfTextEncoder(config={"model_type": "t5", **T5}),
]


@pytest.mark.parametrize("check", [check for config in OTHERS for check in checks(config)], ids=str)
def test_other_options(check: Check) -> None:
    check()

"""The gradient cache with what models bring: gradient checkpointing, adapters, transformers' own dropout."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, models, pre_tokenizers

from a2a_core.builtin.pad import PadCollator
from a2a_core.data import Collate, target_processors
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.testing.reference import ReferenceFusion, ReferenceHead, sample
from a2a_hf.chunks import Chunks

hf_text = pytest.importorskip("a2a_text.hf_text", reason="the encoder is a2a-text's")
lora = pytest.importorskip("a2a_peft.lora", reason="the adapter is a2a-peft's")

BERT = {
    "model_type": "bert",
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture
def encoder(tmp_path: Path) -> Any:
    """A BERT of two layers, with dropout."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1} | {f"w{n}": n for n in range(2, 16)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return hf_text.HfTextEncoder(config=BERT, tokenizer=tmp_path / "tokenizer.json").resolved()


@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointing"])
def test_a_bert(step: Any, encoder: Any, adapted: bool, checkpointing: bool) -> None:
    import toy

    torch.manual_seed(3)
    losses = {"told": toy.WindowLoss(head="number"), "fit": toy.ToyLoss(head="number")}
    adapters = (lora.LoraAdapter(part="encoders.words", r=2, dropout=0.3),) if adapted else ()
    fusion, heads = ReferenceFusion(), {"number": ReferenceHead()}
    model = A2AModel.from_parts(
        Parts(encoders={"words": encoder}, fusion=fusion, heads=heads, losses=losses, adapters=adapters)
    )
    model = model.double().train()
    if checkpointing:
        model.activation_checkpointing_enable()
    processor = encoder.processor()
    texts = [" ".join(f"w{2 + (3 * row + place) % 14}" for place in range(1 + (7 * row) % 9)) for row in range(10)]
    rows = [sample(row, {"words": [processor(text)]}, {"number": 0.1 * row}) for row, text in enumerate(texts)]
    collate = Collate(PadCollator().build({"words": processor}, target_processors(model.parts), {}))
    share = [step.wide(chunk, torch.float64) for chunk in Chunks(collate, 4, 0)(rows)["chunks"]]
    torch.manual_seed(1)
    for parameter in model.parameters():  # an update of a LoRA begins as nothing, whose gradients are zero
        torch.nn.init.normal_(parameter, std=0.3)
    one, other = step.cached(model, share, Accelerator(cpu=True), model), step.uncached(model, share)
    assert step.difference(one, other) < 1e-9
    assert any("lora" in name for name in one.gradients) is adapted
    assert max(float(each.abs().max()) for each in one.gradients.values()) > 1e-3
    assert step.difference(one, step.cached(model, share, Accelerator(cpu=True), model, seed=2)) > 1e-6, "dropout is on"

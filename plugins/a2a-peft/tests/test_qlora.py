"""Four bits as bitsandbytes has them, and what stands beside them as ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from a2a_core.deep.fakes import Fakes, bytes_of
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import Parts, plain
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead
from a2a_peft.four_bits import Nf4Linear
from a2a_peft.lora import LoraAdapter
from a2a_peft.qlora import QloraAdapter

bitsandbytes = pytest.importorskip("bitsandbytes")

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 60}
IDS = torch.arange(12).view(2, 6)


def bert() -> BertModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(**TINY), add_pooling_layer=False).eval()


def adapted(adapter: type[LoraAdapter], text: nn.Module) -> nn.Module:
    whole = nn.ModuleDict({"text": text})
    adapter(part="text", r=4).apply(whole)
    for name, parameter in sorted(whole.named_parameters()):
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return whole["text"]


@pytest.mark.parametrize("shape", [(64, 32), (24, 20), (7, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_is_that_of_bitsandbytes(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(*reversed(shape))
    ours = Nf4Linear(linear, 64)
    theirs = bitsandbytes.nn.Linear4bit(*reversed(shape), quant_type="nf4", compute_dtype=dtype, compress_statistics=False)
    theirs.load_state_dict(linear.state_dict())
    theirs = theirs.to("cpu")
    given = torch.randn(5, shape[1], dtype=dtype)
    torch.testing.assert_close(
        ours(given),
        theirs(given),
        rtol=1e-2 if dtype is torch.bfloat16 else 1e-5,
        atol=1e-2 if dtype is torch.bfloat16 else 1e-6,
    )


def test_gradients_are_those_of_lora_on_the_unpacked_weights() -> None:
    ours, theirs = adapted(QloraAdapter, bert()), adapted(LoraAdapter, bert())
    packed = {name: module for name, module in ours.named_modules() if isinstance(module, Nf4Linear)}
    assert len(packed) == 12, "six a layer"
    for name, module in packed.items():
        theirs.get_submodule(name).weight.data = module.weight_as(torch.float32)
    outputs = [model(input_ids=IDS).last_hidden_state for model in (ours, theirs)]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    expected = {name: each.grad for name, each in theirs.named_parameters() if each.requires_grad}
    found = {name: each.grad for name, each in ours.named_parameters() if each.requires_grad}
    assert found.keys() == expected.keys()
    assert all("lora_" in name for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_a_language_models_output_stays_whole() -> None:
    model: Any = adapted(QloraAdapter, LlamaForCausalLM(LlamaConfig(**TINY)))
    assert type(model.lm_head) is nn.Linear
    assert sum(isinstance(module, Nf4Linear) for module in model.modules()) == 14


def parts() -> Parts:
    adapters = (QloraAdapter(part="encoders.it", r=2),)
    return Parts(
        encoders={"it": ReferenceEncoder()}, fusion=ReferenceFusion(), heads={"head": ReferenceHead()}, adapters=adapters
    )


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = A2AModel(A2AConfig(parts=plain(parts())), parts())
    model.save_pretrained(tmp_path)
    again: A2AModel = A2AModel.from_pretrained(tmp_path, parts())
    saved = again.state_dict()
    assert saved.keys() == model.state_dict().keys()
    assert any(name.endswith("packed") for name in saved)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(saved[name], value, rtol=0, atol=0)


def test_the_deep_check_counts_half_a_byte_a_weight() -> None:
    model = Fakes("cpu").model(parts())
    layers = [module for module in model.modules() if isinstance(module, Nf4Linear)]
    assert layers
    for layer in layers:
        weights = layer.in_features * layer.out_features
        assert bytes_of(layer.buffers()) == (weights + 1) // 2 + 4 * -(-weights // 64)

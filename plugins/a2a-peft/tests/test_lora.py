"""LoRA as peft does it by hand, in a part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from a2a_core import A2AError
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import Parts, plain
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead
from a2a_peft.freeze import FreezeAdapter
from a2a_peft.lora import LoraAdapter
from a2a_peft.qlora import QloraAdapter

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 60}
IDS = torch.arange(12).view(2, 6)


class Whole(nn.Module):
    """A model with two parts."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"text": text})
        self.head = nn.Linear(16, 2)


def bert(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    return BertModel(BertConfig(**TINY), add_pooling_layer=False).eval()


def adapted(text: nn.Module, **options: Any) -> Whole:
    whole = Whole(text)
    LoraAdapter(part="encoders.text", **options).apply(whole)
    return whole


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def fill(model: nn.Module) -> None:
    """The same numbers into every trainable tensor, by name: B starts as zero, and would hide A's gradient."""
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name and "magnitude" not in name:
            generator = torch.Generator().manual_seed(len(name))
            nn.init.normal_(parameter, std=0.3, generator=generator)


@pytest.mark.parametrize(
    "options", [{}, {"rslora": True}, {"dora": True}, {"r": 3, "alpha": 5.0, "rslora": True, "dora": True}]
)
@pytest.mark.parametrize("targets", [("query", "value"), ("layer.1.*.dense",)])
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks transformers for the old name
def test_outputs_and_gradients_are_those_of_peft(options: dict[str, Any], targets: Sequence[str]) -> None:
    ours = adapted(bert(), targets=targets, **options)
    names = {"query", "value"} if "query" in targets else r".*layer\.1\..*\.dense"
    theirs = get_peft_model(
        bert(),
        LoraConfig(
            r=options.get("r", 16),
            lora_alpha=options.get("alpha", 32.0),
            use_rslora=options.get("rslora", False),
            use_dora=options.get("dora", False),
            target_modules=names,
        ),
    )
    text = ours.encoders["text"]
    fill(text)
    state = {name.removeprefix("base_model.model."): name for name in theirs.state_dict()}
    theirs.load_state_dict({state[name]: value for name, value in text.state_dict().items()})
    outputs = [model(input_ids=IDS).last_hidden_state for model in (text, theirs)]
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    for output in outputs:
        output.square().sum().backward()
    expected = {name.removeprefix("base_model.model."): p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    found = {name: p.grad for name, p in text.named_parameters() if p.requires_grad}
    assert found.keys() == expected.keys()
    assert len(found) >= 4
    for name, gradient in found.items():
        assert gradient is not None
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=0)


def test_the_first_outputs_are_the_parts_own() -> None:
    before = bert()(input_ids=IDS).last_hidden_state
    torch.testing.assert_close(adapted(bert()).encoders["text"].eval()(input_ids=IDS).last_hidden_state, before)


def test_all_linear_leaves_out_a_language_models_output_and_other_parts() -> None:
    whole = adapted(LlamaForCausalLM(LlamaConfig(**TINY)))
    layers = {name.split(".lora_")[0].removeprefix("encoders.text.") for name in trained(whole) if "lora_" in name}
    linear = {
        name.replace(".base_layer", "")
        for name, module in whole.encoders["text"].named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name
    }
    assert layers == linear - {"lm_head"}
    assert {"head.weight", "head.bias"} <= trained(whole)
    assert all("lora_" in name for name in trained(whole) if name.startswith("encoders"))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("targets", [("lm_head",), ("q_proj", "lm_head")])
def test_a_layer_whose_weight_is_anothers_gets_no_update(device: str, targets: Sequence[str]) -> None:
    def model(tied: bool) -> nn.Module:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=tied))

    with pytest.raises(
        A2AError, match="`lora` would update `lm_head` of `encoders.text`, whose weight is also that of another"
    ):
        adapted(model(tied=True), targets=targets)
    assert any("lm_head.lora_A" in name for name in trained(adapted(model(tied=False), targets=targets)))
    assert any("q_proj.lora_A" in name for name in trained(adapted(model(tied=True), targets=("q_proj",))))


def test_layers_that_share_a_weight_get_no_update() -> None:
    text = bert()
    first, second = (layer.attention.self for layer in text.encoder.layer)
    second.query.weight = first.query.weight
    with pytest.raises(A2AError) as caught:
        adapted(text, targets=("query", "value"))
    assert str(caught.value).count("would update") == 2


@pytest.mark.parametrize("adapter", [LoraAdapter, QloraAdapter])
def test_torchs_own_layers_use_their_updates_in_training_and_outside(adapter: type[LoraAdapter]) -> None:
    """Their attention never calls its output layer, and their fused kernel calls nothing at all."""
    if adapter is QloraAdapter:
        pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, activation="gelu")
    whole = nn.ModuleDict({"text": layer})
    adapter(part="text").apply(whole)
    fill(whole)
    assert {name.split(".")[1] for name in trained(whole)} == {"linear1", "linear2"}
    given = torch.randn(2, 5, 16)
    training = whole["text"](given)
    training.sum().backward()
    assert all(parameter.grad is not None for parameter in whole.parameters() if parameter.requires_grad)
    with torch.no_grad():
        torch.testing.assert_close(whole.eval()["text"](given), training.detach())


def test_gpt2s_own_linear_layers() -> None:
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=60, n_positions=8))
    names = trained(adapted(model, targets=("c_attn",)))
    assert any("c_attn.lora_A" in name for name in names)


def test_layers_that_can_get_no_gradient_get_no_update() -> None:
    text = bert()
    text.encoder.layer[1].requires_grad_(False)
    assert not any("layer.1." in name for name in trained(adapted(text)))


def test_modules_to_save_are_trained_whole() -> None:
    names = trained(adapted(bert(), targets=("query",), modules_to_save=("embeddings.LayerNorm", "layer.0.output")))
    kept = {name for name in names if "lora_" not in name and name.startswith("encoders.text")}
    parts = {"embeddings.LayerNorm", "encoder.layer.0.output", "encoder.layer.0.attention.output"}
    assert {name.removeprefix("encoders.text.").rsplit(".", 1)[0] for name in kept} <= {
        *parts,
        "encoder.layer.0.output.dense",
        "encoder.layer.0.output.LayerNorm",
    }
    assert "encoders.text.embeddings.LayerNorm.weight" in kept
    assert "encoders.text.encoder.layer.0.output.dense.weight" in kept


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"targets": ("qery",)}, r"`qery` fits no linear layer of `encoders.text`.*did you mean `query`"),
        ({"targets": ("query", "LayerNorm")}, r"`LayerNorm` fits no linear layer"),
        ({"modules_to_save": ("poler",)}, r"`poler` fits no module"),
        ({"part": "encoders.txt"}, r"no part `encoders.txt`.*did you mean `encoders.text`"),
        ({"part": "head"}, r"`head` has no linear layer"),
    ],
)
def test_what_is_not_there(options: dict[str, Any], says: str) -> None:
    with pytest.raises(A2AError, match=f"(?s){says}"):
        LoraAdapter(**{"part": "encoders.text", **options}).apply(Whole(bert()))


def test_nothing_and_twice() -> None:
    with pytest.raises(ValueError, match="names no module"):
        LoraAdapter(part="fusion", targets=())
    with pytest.raises(A2AError, match=r"two adapters `lora` change `encoders.text`"):
        LoraAdapter(part="encoders.text").apply(adapted(bert()))
    frozen = Whole(bert().requires_grad_(False))
    with pytest.raises(A2AError, match="are frozen"):
        LoraAdapter(part="encoders.text").apply(frozen)


def test_a_saved_model_comes_back_with_its_updates(tmp_path: Path) -> None:
    adapters = (LoraAdapter(part="encoders.it", r=2, dora=True), FreezeAdapter(match=("fusion.*",), but=("bias",)))
    parts = Parts(
        encoders={"it": ReferenceEncoder()}, fusion=ReferenceFusion(), heads={"head": ReferenceHead()}, adapters=adapters
    )
    model = A2AModel(A2AConfig(parts=plain(parts)), parts)
    fill(model)
    model.save_pretrained(tmp_path)
    again: A2AModel = A2AModel.from_pretrained(tmp_path, parts)
    assert trained(again) == trained(model)
    assert any("lora_A" in name for name in trained(model))
    saved = again.state_dict()
    assert saved.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(saved[name], value, rtol=0, atol=0)

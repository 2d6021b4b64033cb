"""A plain language model, exported and opened by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from a2a_core import A2AError, RunFailed
from a2a_core.data import Collate
from a2a_core.formats import chosen, example, export_as, exporters, offers, outputs
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_llm.causal_lm import CausalLm
from a2a_llm.lm import LmHead

SIZES = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 300}


class Plain:
    """A collator that knows no conversation."""


class Talk:
    """One that does."""

    stop, template = [1], "{{ messages[0].content }}"


def made(config: dict[str, Any]) -> A2AModel:
    torch.manual_seed(0)
    sizes = SIZES if config["model_type"] != "gpt2" else {"vocab_size": 300}
    fusion = CausalLm(config={**sizes, **config})
    return A2AModel.from_parts(Parts(fusion=fusion.resolved(), heads={"lm": LmHead()})).train(False)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama"},
        {"model_type": "qwen2", "tie_word_embeddings": True, "num_key_value_heads": 2},
        {"model_type": "gemma", "head_dim": 8, "num_key_value_heads": 1},
        {"model_type": "gpt2", "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64},
        {"model_type": "granite", "logits_scaling": 3.0},
    ],
    ids=lambda config: config["model_type"],
)
def test_it_is_its_own_class_with_the_same_logits(config: dict[str, Any], tmp_path: Path) -> None:
    model = made(config)
    collate = Collate(Talk())  # type: ignore[arg-type]
    written = export_as(model, collate, chosen(offers(model, collate), None), tmp_path / "out")
    assert written.format == "transformers"
    assert written.difference < 1e-5
    again: Any = AutoModelForCausalLM.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
    assert type(again) is type(model.fusion.model)
    tokenizer: Any = AutoTokenizer.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
    assert tokenizer.decode(tokenizer("Été 1")["input_ids"], skip_special_tokens=True) == "Été 1"
    assert tokenizer.chat_template == Talk.template
    inputs = example(model)
    ids = inputs["text"]["ids"]
    torch.testing.assert_close(again(ids[None]).logits[0], outputs(model, inputs)["logits"], atol=1e-5, rtol=1e-5)
    assert again.generation_config.eos_token_id == 1


def test_what_it_has_no_place_for(tmp_path: Path) -> None:
    model = made({"model_type": "llama"})
    model.heads["more"] = torch.nn.Linear(2, 2)
    offered = offers(model, Collate(Plain()))  # type: ignore[arg-type]
    with pytest.raises(A2AError, match=r"cannot be written as `transformers`: it has no place for `heads.more`"):
        chosen(offered, "transformers")
    with pytest.raises(A2AError, match=r"no format for others holds all of this model\n  transformers: it has no place"):
        chosen(offered, None)
    with pytest.raises(A2AError, match="no format `lava`.*(?s:.)*did you mean `llava`"):
        chosen(offered, "lava")


def test_tensors_and_tokens_that_are_others_are_found(tmp_path: Path) -> None:
    model = made({"model_type": "llama"})
    exporter: Any = exporters(model, Collate(Plain()))["transformers"]  # type: ignore[arg-type]
    exporter.write(tmp_path / "out")
    assert exporter.compare(tmp_path / "out") < 1e-5
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")  # type: ignore[no-untyped-call]
    tokenizer.add_tokens(["What"])
    tokenizer.save_pretrained(tmp_path / "out")
    with pytest.raises(RunFailed, match="tokenizer in .* is not the one"):
        exporter.compare(tmp_path / "out")
    with torch.no_grad():
        model.fusion.model.lm_head.weight[0, 0] += 1
    with pytest.raises(RunFailed, match="changed: lm_head.weight"):
        exporter.compare(tmp_path / "out")

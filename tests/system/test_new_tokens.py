"""New tokens of a language model, whose rows alone are trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from a2a_core.model import A2AModel
from a2a_core.runs import Run

RECIPE = """
[data.train]
use = "chat"
path = "talk.jsonl"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 4
max_position_embeddings = 64
tie_word_embeddings = TIED
[heads.lm]
use = "lm"
[losses.lm]
use = "next-token"
head = "lm"
[collator]
use = "chat"
template = "plain"
[trainer]
max_steps = 4
batch_size = 4
learning_rate = 0.05
weight_decay = 0.5
save = "steps"
save_every = 2
keep_last = 0
report_to = []
[backend]
device = "cpu"
"""
NEW = """
[[adapters]]
use = "embeddings"
tokens = ["<dark>", "<light>"]
"""
LORA = """
[[adapters]]
use = "lora"
part = "fusion"
r = 2
"""
EMBEDDINGS, OUTPUT = "fusion.model.model.embed_tokens", "fusion.model.lm_head"


def begun(place: Any, adapters: str, tied: bool = False, kind: str = "llama") -> Run:
    turns = [{"from": "human", "value": "How is <light>?"}, {"from": "gpt", "value": "not <dark>"}]
    place.write([{"id": str(index), "conversations": turns} for index in range(8)], "talk")
    place.recipe.write_text(RECIPE.replace("TIED", str(tied).lower()).replace('"llama"', f'"{kind}"') + adapters)
    place.run("train", "recipe.toml", "--out", "runs/mine")
    return Run(place.folder / "runs" / "mine")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("tied", [False, True])
def test_old_rows_and_all_else_stay_as_they_are(place: Any, tied: bool) -> None:
    run = begun(place, NEW, tied)
    before, after = weights(run.checkpoints / "checkpoint-2"), weights(run.model)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    rows = {f"{EMBEDDINGS}.new_rows", f"{OUTPUT}.new_rows"}
    assert moved == ({f"{EMBEDDINGS}.new_rows"} if tied else rows)
    assert after[f"{EMBEDDINGS}.new_rows"].shape == (2, 32)
    assert after[f"{EMBEDDINGS}.weight"].shape == (261, 32)
    model = A2AModel.from_pretrained(run.model)
    assert {name for name, each in model.named_parameters() if each.requires_grad} == moved
    output = place.run("check", "--deep", "recipe.toml").output
    assert f"{64 if tied else 128} of them trainable" in output
    whole = (run.model / "model.safetensors").read_bytes()
    shutil.rmtree(run.model)
    shutil.rmtree(run.checkpoints / "checkpoint-4")
    run.update(status="interrupted")
    place.run("train", "--resume", "mine")
    assert (run.model / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("tied", [False, True])
def test_an_export_has_them_among_the_others(place: Any, tied: bool) -> None:
    run = begun(place, LORA + NEW, tied)
    place.run("export", "mine", "-o", "out")
    trained = weights(run.model)
    model = A2AModel.from_pretrained(run.model)
    names = {name for name, each in model.named_parameters() if each.requires_grad}
    assert {name.rpartition(".")[0] for name in names if "lora_" not in name} == {EMBEDDINGS, *([] if tied else [OUTPUT])}
    assert any("lora_" in name for name in names)
    again: Any = AutoModelForCausalLM.from_pretrained(place.folder / "out")
    table = again.get_input_embeddings().weight
    assert torch.equal(table[:259], trained[f"{EMBEDDINGS}.weight"][:259])
    assert torch.equal(table[259:], trained[f"{EMBEDDINGS}.new_rows"])
    output = again.get_output_embeddings().weight
    assert torch.equal(output[259:], trained[f"{EMBEDDINGS if tied else OUTPUT}.new_rows"])
    tokenizer: Any = AutoTokenizer.from_pretrained(place.folder / "out")
    assert tokenizer("<light>")["input_ids"] == [260]


@pytest.mark.parametrize(("kind", "tied"), [("llama", False), ("llama", True), ("gemma3_text", True)])
def test_gradients_are_those_of_the_whole_tables(place: Any, kind: str, tied: bool) -> None:
    """Row by row what training all of them would give; Gemma scales its embeddings."""
    run = begun(place, NEW, tied, kind)
    ours, theirs = (A2AModel.from_pretrained(run.model) for _ in range(2))
    theirs.parts.adapters[0].merge(theirs)
    theirs.requires_grad_(True)
    ids = torch.tensor([260, 7, 259, 260, 99])
    inputs = {"size": 1, "text": {"ids": ids, "positions": torch.arange(5), "lengths": [5], "media": {}}}
    found = []
    for model in (ours, theirs):
        fused = model.fusion({}, inputs)
        found.append(fused.unembed(fused.hidden))
        found[-1].log_softmax(-1)[:, [259, 5]].sum().backward()
    torch.testing.assert_close(*found)
    for name in (EMBEDDINGS, *([] if tied else [OUTPUT])):
        ours_table, table = (model.get_submodule(name) for model in (ours, theirs))
        torch.testing.assert_close(ours_table.new_rows.grad, table.weight.grad[259:], atol=1e-6, rtol=1e-4)
        assert ours_table.weight.grad is None
        assert not hasattr(table, "new_rows")


OUTPUT_LORA = LORA + 'targets = ["lm_head"]\n'
OUTPUT_WHOLE = LORA + 'modules_to_save = ["lm_head"]\n'


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings:UserWarning")
@pytest.mark.parametrize(
    ("adapters", "tied"),
    [
        (NEW, False),
        (NEW, True),
        (LORA + NEW, True),
        (OUTPUT_LORA, False),
        (OUTPUT_WHOLE, False),
        (OUTPUT_WHOLE, True),
        ("", True),
    ],
    ids=["rows", "tied rows", "lora and tied rows", "lora of the output", "lora and output", "lora and tied output", "tied"],
)
def test_the_loss_has_the_gradients_of_plain_cross_entropy(place: Any, adapters: str, tied: bool) -> None:
    """`next-token` goes back through the output layer chunk by chunk, and must reach all that logits depend on."""
    model = A2AModel.from_pretrained(begun(place, adapters, tied).model).train()
    ids = torch.tensor([260, 7, 259, 260, 99])
    inputs: dict[str, Any] = {"size": 1, "text": {"ids": ids, "positions": torch.arange(5), "lengths": [5], "media": {}}}
    labels = torch.tensor([7, 259, 260, 99, 259]) if "embeddings" in adapters else ids.roll(-1) % 259
    inputs["text"]["ids"] = ids if "embeddings" in adapters else ids % 259
    targets = {"lm": {"index": torch.arange(5), "labels": labels, "weights": torch.ones(5), "row": torch.zeros(5).long()}}
    made = model(inputs, targets, ["lm"])
    (made.totals["lm/next_token"] + made.anchor).backward()
    found = {name: each.grad for name, each in model.named_parameters() if each.requires_grad}
    assert model.get_submodule(OUTPUT).weight.requires_grad == ("modules_to_save" in adapters or not adapters)
    model.zero_grad()
    fused = model.fusion({}, inputs)
    cross_entropy(fused.unembed(fused.hidden), labels, reduction="sum").backward()
    for name, each in model.named_parameters():
        if each.requires_grad and each.grad is not None:
            torch.testing.assert_close(found[name], each.grad, atol=1e-5, rtol=1e-4, msg=name)
    assert any(each is not None and each.abs().max() > 0.1 for each in found.values())


@pytest.mark.parametrize(
    ("adapters", "says"),
    [
        (NEW.replace("<dark>", "</s>"), "`</s>` is in the vocabulary already"),
        (NEW + NEW, "`<dark>` is among the new tokens twice"),
        (NEW + NEW.replace("dark", "grey").replace("light", "white"), "two adapters `embeddings` change the vocabulary"),
        (NEW.replace('"<dark>", "<light>"', ""), "`tokens` names no token"),
        (NEW + LORA, "`lora` would freeze the new tokens of the adapter `embeddings`"),
    ],
)
def test_what_cannot_be_added(place: Any, adapters: str, says: str) -> None:
    place.write([{"id": "0", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}], "talk")
    place.recipe.write_text(RECIPE.replace("TIED", "false") + adapters)
    output = place.run("train", "recipe.toml", code=2).output
    assert says in output
    assert "Traceback" not in output


def test_a_fusion_without_a_vocabulary(place: Any) -> None:
    place.recipe.write_text(place.recipe.read_text() + NEW)
    for command in (("train",), ("check", "--deep")):
        output = place.run(*command, "recipe.toml", code=2).output
        assert "[[adapters]] fusion `bottleneck` has no vocabulary that can get new tokens" in output
        assert "recipe.toml:" in output

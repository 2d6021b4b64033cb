from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, BertForSequenceClassification, BertModel, CLIPConfig, CLIPModel, CLIPTextModel

from a2a_core import A2AError
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, refill_buffers

CONFIG = BertConfig(vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
NORM = "encoder.layer.1.output.LayerNorm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT that classifies: its encoder lies under a prefix."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    return tmp_path


def fresh() -> BertModel:
    torch.manual_seed(1)
    return BertModel(CONFIG)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def is_that_of(folder: Path, model: torch.nn.Module, prefix: str = "bert.") -> bool:
    stored = load_file(folder / "model.safetensors")
    return all(torch.equal(tensor, stored[prefix + name].float()) for name, tensor in model.state_dict().items())


def test_a_model_is_found_in_a_bigger_one(folder: Path) -> None:
    model = fresh()
    assert not is_that_of(folder, model)
    assert load_pretrained(model, folder) == {"classifier.weight", "classifier.bias"}
    assert is_that_of(folder, model)


def test_a_part_is_loaded_by_way_of_the_whole(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config={**sizes, "vocab_size": 30}, vision_config={**sizes, "image_size": 8, "patch_size": 4})
    CLIPModel(config).save_pretrained(tmp_path)
    model = CLIPTextModel(config.text_config)
    load_pretrained(model, tmp_path, config=config, via=AutoModel, part=lambda whole: whole.text_model)
    assert is_that_of(tmp_path, model, "text_model.")


def test_shards_and_half_precision(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    BertForSequenceClassification.from_pretrained(folder).half().save_pretrained(folder / "shards", max_shard_size="5kB")
    assert len(list((folder / "shards").glob("*.safetensors"))) > 2
    model = fresh()
    load_pretrained(model, folder / "shards")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, stored[f"bert.{name}"].half().float()), name


def test_names_of_old_files_are_converted(folder: Path) -> None:
    wanted = load_file(folder / "model.safetensors")

    def grow_old(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if "LayerNorm" in name]:
            tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)

    rewrite(folder, grow_old)
    model = fresh()
    load_pretrained(model, folder)
    assert torch.equal(model.state_dict()[f"{NORM}.weight"], wanted[f"bert.{NORM}.weight"])


def test_a_missing_tensor_is_named_unless_it_is_unused(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.pop(f"bert.{NORM}.weight"))
    with pytest.raises(A2AError, match=rf"lacks 1 of the model's weights: {NORM}\.weight$"):
        load_pretrained(fresh(), folder)
    load_pretrained(fresh(), folder, unused={f"{NORM}.weight"})


def test_a_misshapen_tensor_is_named(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({f"bert.{NORM}.bias": torch.zeros(3)}))
    with pytest.raises(A2AError, match=rf"1 of the model's weights in another shape: {NORM}\.bias \(\[3\] for \[16\]\)"):
        load_pretrained(fresh(), folder)


def test_many_missing_tensors_are_counted(folder: Path) -> None:
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".layer.1." in name])
    with pytest.raises(A2AError, match=r"lacks 16 of the model's weights"):
        load_pretrained(fresh(), folder)
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if ".layer.0." in name])
    with pytest.raises(A2AError, match=r"lacks 32 .* and 12 more$"):
        load_pretrained(fresh(), folder)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x10" * 40])
def test_a_broken_file_says_so(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(A2AError, match="the weights in .* cannot be read"):
        load_pretrained(fresh(), folder)


@pytest.mark.parametrize("index", ["{", "{}", "[]", '{"weight_map": {"a": "gone.safetensors"}, "metadata": {}}'])
def test_a_broken_index_says_so(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(A2AError, match="the weights in .* cannot be read"):
        load_pretrained(fresh(), folder)


def test_pickles_are_not_opened(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(A2AError, match="the weights in .* cannot be read: .*safetensors"):
        load_pretrained(fresh(), folder)


def test_buffers_that_no_file_holds_are_refilled() -> None:
    model = fresh()
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.embeddings.position_ids.fill_(7)
    refill_buffers(model)
    assert model.embeddings.position_ids.tolist() == [list(range(512))]
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_parameters_that_get_no_gradient_are_found_and_frozen() -> None:
    with torch.no_grad(), tracing():
        model = fresh()
        hidden = model(inputs_embeds=torch.zeros(1, 2, 16), output_hidden_states=True).hidden_states[1]
        unused = unreached(model, hidden)
    assert {name.split(".")[0] for name in unused} == {"encoder", "pooler", "embeddings"}
    assert {name for name in unused if name.startswith("emb")} == {"embeddings.word_embeddings.weight"}
    assert all(".1." in name for name in unused if name.startswith("encoder"))
    freeze(model, unused)
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == unused

"""token-embedding against `get_input_embeddings()` of the models of transformers themselves."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from a2a_core import A2AError
from a2a_core.testing import Check, checks
from a2a_text.token_embedding import TokenEmbeddingEncoder

SIZES = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
T5 = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
GPT2 = {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 2, "eos_token_id": 2}
BART = {"vocab_size": 30, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8}
LLAVA = {
    "text_config": {"model_type": "llama", **SIZES},
    "vision_config": {"model_type": "clip_vision_model", "patch_size": 4, **VISION},
    "image_token_index": 29,
}
CLIP = {"text_config": {**SIZES, "eos_token_id": 2}, "vision_config": {"patch_size": 4, **VISION}}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": ("model.embed_tokens.weight", {"tie_word_embeddings": False, **SIZES}),
    "LlamaModel": ("embed_tokens.weight", SIZES),
    "Qwen2ForCausalLM": ("model.embed_tokens.weight", {"tie_word_embeddings": True, "num_key_value_heads": 2, **SIZES}),
    "Gemma2ForCausalLM": ("model.embed_tokens.weight", {**SIZES, "head_dim": 8, "num_key_value_heads": 2}),
    "BertForSequenceClassification": ("bert.embeddings.word_embeddings.weight", SIZES),
    "BertForMaskedLM": ("bert.embeddings.word_embeddings.weight", SIZES),
    "BertModel": ("embeddings.word_embeddings.weight", SIZES),
    "RobertaModel": ("embeddings.word_embeddings.weight", SIZES),
    "T5ForConditionalGeneration": ("shared.weight", T5),
    "T5EncoderModel": ("shared.weight", T5),
    "BartForConditionalGeneration": ("model.shared.weight", BART),
    "GPT2LMHeadModel": ("transformer.wte.weight", GPT2),
    "GPT2Model": ("wte.weight", GPT2),
    "LlavaForConditionalGeneration": ("language_model.model.embed_tokens.weight", LLAVA),
    "CLIPModel": ("text_model.embeddings.token_embedding.weight", CLIP),
    "CLIPTextModelWithProjection": ("text_model.embeddings.token_embedding.weight", {**SIZES, "eos_token_id": 2}),
    "MambaForCausalLM": ("backbone.embeddings.weight", {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1}),
}
TEXTS = ("the cat sat on the mat", "a dog", "")


def saved(name: str, folder: Path, tokenizer: Path, **options: Any) -> torch.Tensor:
    """A model of random weights in a directory, and its input embeddings."""
    model_class = getattr(transformers, name)
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**MODELS[name][1]))
    model.save_pretrained(folder, **options)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    inner = model.text_model if name == "CLIPModel" else model
    return inner.get_input_embeddings().weight.detach()


def loaded(path: Path, **options: Any) -> tuple[TokenEmbeddingEncoder, Any]:
    encoder = TokenEmbeddingEncoder(path=path, **options).resolved()
    module = encoder.build()
    encoder.load(module)
    return encoder, module


@pytest.mark.parametrize("name", MODELS)
def test_the_matrix_is_that_of_the_model(name: str, tmp_path: Path, words: Path) -> None:
    matrix = saved(name, tmp_path, words)
    stored = load_file(tmp_path / "model.safetensors")
    assert torch.equal(stored[MODELS[name][0]], matrix)
    _, module = loaded(tmp_path)
    assert torch.equal(module.embeddings.weight, matrix)
    assert module.width == matrix.shape[1] == 16


@pytest.mark.parametrize("rest", ["gone", "garbage"])
@pytest.mark.parametrize("name", ["LlamaForCausalLM", "T5ForConditionalGeneration", "LlavaForConditionalGeneration"])
def test_the_other_shards_are_not_opened(name: str, rest: str, tmp_path: Path, words: Path) -> None:
    matrix = saved(name, tmp_path, words, max_shard_size="3kB")
    shards = json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]
    others = set(shards.values()) - {shards[MODELS[name][0]]}
    assert len(others) > 5
    for shard in others:
        (tmp_path / shard).unlink() if rest == "gone" else (tmp_path / shard).write_bytes(b"garbage" * 9)
    _, module = loaded(tmp_path)
    assert torch.equal(module.embeddings.weight, matrix)


def test_of_a_large_file_the_matrix_alone_is_read(tmp_path: Path, words: Path) -> None:
    """8 GB on paper: reading them would take as much memory."""
    matrix = saved("LlamaForCausalLM", tmp_path, words)
    large = 1 << 33
    header = {"model.layers.0.mlp.up_proj.weight": {"dtype": "F32", "shape": [large // 4], "data_offsets": [0, large]}}
    size = matrix.numel() * 4
    header["model.embed_tokens.weight"] = {"dtype": "F32", "shape": [30, 16], "data_offsets": [large, large + size]}
    head = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.seek(large, 1)
        file.write(matrix.numpy().tobytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, module = loaded(tmp_path)
    assert torch.equal(module.embeddings.weight, matrix)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def renamed(folder: Path, change: dict[str, str | None]) -> None:
    """Rename tensors of a file; those that become None are removed."""
    tensors = load_file(folder / "model.safetensors")
    for old, new in change.items():
        tensor = tensors.pop(old)
        if new is not None:
            tensors[new] = tensor
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Qwen2ForCausalLM", "lm_head.weight"),
        ("T5ForConditionalGeneration", "decoder.embed_tokens.weight"),
        ("LlavaForConditionalGeneration", "model.language_model.embed_tokens.weight"),
        ("LlavaForConditionalGeneration", "language_model.embed_tokens.weight"),
        ("BertModel", "distil.bert.embeddings.word_embeddings.weight"),
    ],
)
def test_other_names_of_the_matrix(name: str, other: str, tmp_path: Path, words: Path) -> None:
    matrix = saved(name, tmp_path, words)
    renamed(tmp_path, {MODELS[name][0]: other})
    _, module = loaded(tmp_path)
    assert torch.equal(module.embeddings.weight, matrix)


def test_half_precision_becomes_float32(tmp_path: Path, words: Path) -> None:
    matrix = saved("LlamaModel", tmp_path, words)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    _, module = loaded(tmp_path)
    assert torch.equal(module.embeddings.weight, matrix.bfloat16().float())


def test_tokens_are_rows_of_the_matrix_projected(tmp_path: Path, words: Path) -> None:
    matrix = saved("BertModel", tmp_path, words)
    encoder, module = loaded(tmp_path, width=6)
    processor = encoder.processor()
    items = [processor(text) for text in TEXTS]
    tokens = module(**processor.pad(items))
    assert [item.length for item in items] == tokens.mask.sum(1).tolist() == [8, 4, 2]
    wanted = matrix[torch.tensor([2, 4, 6, 3])] @ module.projection.weight.T + module.projection.bias
    torch.testing.assert_close(tokens.values[1, :4], wanted)
    assert tokens.values.shape == (3, 8, 6)
    assert not tokens.values[~tokens.mask].any()


def test_an_empty_text_is_the_first_special_token_that_there_is(tmp_path: Path, bare: Path) -> None:
    saved("GPT2Model", tmp_path / "gpt2", bare)
    with pytest.raises(A2AError, match=r"ids up to 40, and `wte.weight` has 30 rows"):
        TokenEmbeddingEncoder(path=tmp_path / "gpt2").resolved()
    small = tmp_path / "small.json"
    small.write_text(bare.read_text().replace('"mat": 40', '"mat": 11').replace('"mat":40', '"mat":11'))
    encoder = TokenEmbeddingEncoder(path=tmp_path / "gpt2", tokenizer=small, max_length=2)
    processor = encoder.processor()
    assert processor("").tensors["input_ids"].tolist() == [2]
    assert processor("the mat").tensors["input_ids"].tolist() == [9, 11]
    with pytest.raises(ValueError, match="3 tokens, and `max_length` is 2"):
        processor("the mat sat")
    cut = TokenEmbeddingEncoder(path=tmp_path / "gpt2", tokenizer=small, max_length=2, truncate=True)
    assert cut.processor()("the mat sat").length == 2


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        ({}, {"embeddings.weight"}),
        ({"width": 6}, {"embeddings.weight", "projection.weight", "projection.bias"}),
        ({"width": 6, "freeze_matrix": True}, {"projection.weight", "projection.bias"}),
        ({"freeze_matrix": True}, set()),
    ],
)
def test_what_is_trained(options: dict[str, Any], trained: set[str], tmp_path: Path) -> None:
    module: Any = TokenEmbeddingEncoder.tiny(tmp_path).__class__(path=tmp_path, **options).build()
    assert {name for name, parameter in module.named_parameters() if parameter.requires_grad} == trained


def test_bad_options_are_refused(tmp_path: Path, words: Path) -> None:
    saved("BertModel", tmp_path, words)
    with pytest.raises(ValueError, match="`freeze` would keep the linear layer to `width` as it is, random"):
        TokenEmbeddingEncoder(path=tmp_path, freeze=True, width=8)
    with pytest.raises(ValueError, match="there is no model at"):
        TokenEmbeddingEncoder(path=tmp_path / "nowhere")
    torch.save({}, tmp_path / "pytorch_model.bin")
    TokenEmbeddingEncoder(path=tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has only pytorch_model.bin, a pickle, which is not opened; .* writes model.safe"):
        TokenEmbeddingEncoder(path=tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="has no weights"):
        TokenEmbeddingEncoder(path=tmp_path)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="there is no tokenizer at"):
        TokenEmbeddingEncoder(path=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings.word_embeddings.weight": None}, "should have one tensor `embeddings.word_embeddings.weight`.* has none"),
        (
            {
                "embeddings.word_embeddings.weight": "one.word_embeddings.weight",
                "pooler.dense.weight": "two.word_embeddings.weight",
            },
            r"several that it may be \(one.word_embeddings.weight, two.word_embeddings.weight\)",
        ),
        (
            {"embeddings.word_embeddings.weight": None, "pooler.dense.bias": "embeddings.word_embeddings.weight"},
            r"is no matrix: its shape is \[16\]",
        ),
    ],
)
def test_files_without_the_matrix(change: dict[str, str | None], message: str, tmp_path: Path, words: Path) -> None:
    saved("BertModel", tmp_path, words)
    renamed(tmp_path, change)
    with pytest.raises(A2AError, match=message):
        TokenEmbeddingEncoder(path=tmp_path).resolved()


def test_files_that_are_none(tmp_path: Path, words: Path) -> None:
    saved("BertModel", tmp_path, words)
    encoder, module = loaded(tmp_path)
    matrix = load_file(tmp_path / "model.safetensors")["embeddings.word_embeddings.weight"]
    save_file({"embeddings.word_embeddings.weight": matrix.to(torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(A2AError, match=r"is torch.int8: quantised weights cannot be read"):
        encoder.load(module)
    (tmp_path / "model.safetensors").write_bytes(b"garbage" * 9)
    with pytest.raises(A2AError, match="the weights in .* cannot be read"):
        TokenEmbeddingEncoder(path=tmp_path).resolved()
    (tmp_path / "model.safetensors").unlink()
    for index in ("{", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}'):
        (tmp_path / "model.safetensors.index.json").write_text(index)
        with pytest.raises(A2AError, match="is no index of weights"):
            TokenEmbeddingEncoder(path=tmp_path).resolved()
    index = {"weight_map": {"embeddings.word_embeddings.weight": "gone.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(A2AError, match=r"the weights in .*gone.safetensors cannot be read"):
        TokenEmbeddingEncoder(path=tmp_path).resolved()


def test_a_model_without_text(tmp_path: Path, words: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path)
    save_file({"embeddings.cls_token": torch.zeros(1)}, tmp_path / "model.safetensors")
    shutil.copy(words, tmp_path / "tokenizer.json")
    with pytest.raises(A2AError, match="a `vit` model has no embeddings of text"):
        TokenEmbeddingEncoder(path=tmp_path).resolved()


OPTIONS: list[dict[str, Any]] = [{}, {"width": 6, "freeze_matrix": True}, {"max_length": 4, "truncate": True}]


@pytest.mark.parametrize("index", range(len(OPTIONS)))
def test_other_options_pass_the_kit(index: int, tmp_path: Path) -> None:
    TokenEmbeddingEncoder.tiny(tmp_path)
    found: list[Check] = checks(TokenEmbeddingEncoder(path=tmp_path, **OPTIONS[index]))
    assert len(found) > 10
    for check in found:
        try:
            check()
        except pytest.skip.Exception:
            continue

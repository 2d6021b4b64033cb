from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from a2a_core import A2AError, Tokens
from a2a_core.recipe import plain
from a2a_core.testing import Check, checks
from a2a_retrieval.towers import ImageTower, TextTower

WORDS = ["!", "?", "a", "<end>", "cat", "dog", "sat", "on", "the", "mat", "<begin>", "<last>"]
TEXTS = ("the cat sat on the mat", "a dog", "", "on a mat the dog sat")
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURES = {**SIZES, "hidden_size": 20, "image_size": 8, "patch_size": 4}
READS = {**SIZES, "vocab_size": 14, "max_position_embeddings": 12}
KINDS = ("clip", "clip-of-old", "siglip")


def saved(kind: str, folder: Path) -> Path:
    """A whole model, its tokenizer and how its pictures are prepared. Texts end with the largest id in a CLIP of old."""
    torch.manual_seed(0)
    end = "<last>" if kind == "clip-of-old" else "<end>"
    if kind == "siglip":
        model: Any = SiglipModel(SiglipConfig(text_config={**READS, "projection_size": 20}, vision_config=PICTURES))
        images: Any = SiglipImageProcessor(size={"height": 8, "width": 8})
    else:
        eos = 2 if kind == "clip-of-old" else WORDS.index(end)
        text = {**READS, "eos_token_id": eos, "bos_token_id": 10}
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=12))
        images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    with torch.no_grad():  # fresh ones hardly tell one token from another
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [("<begin>", 10), (end, WORDS.index(end))]
    words.post_processor = processors.TemplateProcessing(single=f"<begin> $A {end}", special_tokens=special)
    inputs = {"model_input_names": ["input_ids"]}  # as published: SigLIP was trained without a mask
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="!", eos_token=end, **inputs)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return saved(request.param, tmp_path / "model")


def opened(path: Path) -> Any:
    kind: Any = SiglipModel if json.loads((path / "config.json").read_text())["model_type"] == "siglip" else CLIPModel
    return kind.from_pretrained(path).eval()


def loaded(encoder: Any) -> tuple[Any, Any]:
    encoder = encoder.resolved()
    module = encoder.build().eval()
    encoder.load(module)
    return encoder, module


def encode(encoder: Any, module: Any, raws: Any) -> Tokens:
    processor = encoder.processor()
    with torch.no_grad():
        tokens: Tokens = module(**processor.pad([processor(raw) for raw in raws]))
    return tokens


def test_the_token_of_a_text_is_that_of_transformers(whole: Path) -> None:
    encoder, module = loaded(TextTower(path=whole))
    tokens = encode(encoder, module, TEXTS)
    tokenizer: Any = AutoTokenizer.from_pretrained(whole)  # type: ignore[no-untyped-call]
    stock = opened(whole)
    siglip = type(stock) is SiglipModel
    given = tokenizer(
        list(TEXTS), padding="max_length" if siglip else True, max_length=12, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = stock.get_text_features(**given).pooler_output
    assert tokens.mask.all()
    torch.testing.assert_close(tokens.values[:, 0], wanted, atol=1e-5, rtol=1e-5)
    assert module.width == wanted.shape[1] == (20 if siglip else 12)
    assert (wanted[0] - wanted[3]).abs().max() > 0.01


def test_the_token_of_a_picture_is_that_of_transformers(whole: Path, tmp_path: Path) -> None:
    encoder, module = loaded(ImageTower(path=whole))
    stock, files = opened(whole), encoder.examples(tmp_path)
    processor = encoder.processor()
    pixels = processor.pad([processor(file) for file in files])
    with torch.no_grad():
        wanted = stock.get_image_features(**pixels).pooler_output
    torch.testing.assert_close(encode(encoder, module, files).values[:, 0], wanted, atol=1e-5, rtol=1e-5)
    assert processor(files[0]).length == 1
    assert module.width == wanted.shape[1]


def test_pictures_of_another_size_have_positions_between(whole: Path, tmp_path: Path) -> None:
    encoder, module = loaded(ImageTower(path=whole, preprocess={"size": {"height": 12, "width": 12}, "do_center_crop": False}))
    files = encoder.examples(tmp_path)
    processor = encoder.processor()
    pixels = processor.pad([processor(file) for file in files])
    assert pixels["pixel_values"].shape[2:] == (12, 12)
    with torch.no_grad():
        wanted = opened(whole).get_image_features(**pixels, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(encode(encoder, module, files).values[:, 0], wanted, atol=1e-5, rtol=1e-5)


def test_a_tower_saved_alone_and_one_without_the_wholes_projection(tmp_path: Path) -> None:
    """Published configurations name the projection's width for the whole and leave that of the parts at its default."""
    path = saved("clip", tmp_path / "model")
    said = json.loads((path / "config.json").read_text())
    assert said["text_config"]["projection_dim"] == 512
    assert said["projection_dim"] == 12
    encoder, module = loaded(TextTower(path=path))
    module.model.save_pretrained(tmp_path / "alone")
    shutil.copy(path / "tokenizer.json", tmp_path / "alone")
    again, other = loaded(TextTower(path=tmp_path / "alone"))
    assert torch.equal(encode(again, other, TEXTS).values, encode(encoder, module, TEXTS).values)


def test_a_saved_config_opens_without_the_folder(whole: Path, tmp_path: Path) -> None:
    towers: Any = {TextTower: TEXTS, ImageTower: ImageTower.tiny(tmp_path).examples(tmp_path)}
    for tower, given in towers.items():
        encoder, module = loaded(tower(path=whole))
        values = json.loads(json.dumps(plain(encoder)))
        values.pop("use")
        again = tower(**{**values, "path": tmp_path / "gone"})
        assert again.resolved().config == encoder.config
        opened_again = again.build().eval()
        opened_again.load_state_dict(module.state_dict())
        assert torch.equal(encode(again, opened_again, given).values, encode(encoder, module, given).values)


def test_how_texts_are_read_may_differ() -> None:
    assert {"prefix", "truncate", "field"} <= TextTower.reading
    assert not {"max_length", "path", "config"} & TextTower.reading


def test_texts_are_cut_before_their_end(whole: Path) -> None:
    encoder = TextTower(path=whole, prefix="a", truncate=True).resolved()
    ids = encoder.processor()(" cat" * 20).tensors["input_ids"].tolist()
    assert (len(ids), ids[:3], ids[-1] in (3, 11)) == (12, [10, 2, 4], True)
    with pytest.raises(ValueError, match="22 tokens, and `max_length` is 12"):
        TextTower(path=whole).processor()("cat " * 20)


def test_bytes_without_a_tokenizer() -> None:
    """The text is read at its end, whatever a CLIP's own end is."""
    config = {"model_type": "clip_text_model", **READS, "vocab_size": 259, "projection_dim": 8}
    encoder, module = loaded(TextTower(config=config))
    assert (encoder.config["eos_token_id"], encoder.config["pad_token_id"]) == (1, 0)
    tokens = encode(encoder, module, ("one", "oni", "on")).values
    assert not torch.equal(tokens[0], tokens[1])
    torch.testing.assert_close(encode(encoder, module, ("on",)).values[0], tokens[2], atol=1e-6, rtol=1e-5)


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    def text(**config: Any) -> TextTower:
        return TextTower(config=config).resolved()

    with pytest.raises(ValueError, match="give `path`"):
        TextTower()
    with pytest.raises(ValueError, match="there is no model at"):
        ImageTower(path=tmp_path)
    with pytest.raises(A2AError, match="a `bert` model has no text tower of CLIP or SigLIP"):
        text(model_type="bert")
    with pytest.raises(A2AError, match="a `clip_text_model` model has no vision tower"):
        ImageTower(config={"model_type": "clip_text_model"}).resolved()
    with pytest.raises(A2AError, match="fixed size, by the model type `siglip`"):
        text(model_type="siglip2_text_model")
    with pytest.raises(A2AError, match="ids up to 258, and the model has an embedding of 14 rows"):
        text(model_type="siglip_text_model", **READS)
    with pytest.raises(A2AError, match="no pooling of its own"):
        ImageTower(config={"model_type": "siglip_vision_model", "vision_use_head": False}).resolved()
    with pytest.raises(A2AError, match="`max_length` = 90, but the model has 77 positions"):
        TextTower(config={"model_type": "clip_text_model"}, max_length=90).resolved()


def test_a_tokenizer_that_ends_no_text_as_clip_wants_it(tmp_path: Path) -> None:
    path = saved("clip", tmp_path / "model")
    said = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps({**said, "post_processor": None}))
    with pytest.raises(A2AError, match="CLIP reads a text at the token 3, where it ends, and the tokenizer ends no text with"):
        TextTower(path=path).resolved()


def test_padding_that_siglip_sees_is_the_tokenizers(tmp_path: Path) -> None:
    path = saved("siglip", tmp_path / "model")
    assert TextTower(path=path).resolved().config["pad_token_id"] == 0
    (path / "tokenizer_config.json").unlink()
    assert TextTower(path=path).resolved().config["pad_token_id"] == 1


def test_weights_that_are_missing_are_named(whole: Path) -> None:
    weights = load_file(whole / "model.safetensors")
    (gone,) = [name for name in weights if name in ("text_projection.weight", "text_model.head.weight")]
    save_file({name: weights[name] for name in weights if name != gone}, whole / "model.safetensors", {"format": "pt"})
    loaded(ImageTower(path=whole))
    with pytest.raises(A2AError, match=r"lacks 1 of the model's weights: .*(projection|head)\.weight"):
        loaded(TextTower(path=whole))


OTHERS = [
    TextTower(config={"model_type": "clip_text_model", **READS, "vocab_size": 259, "max_position_embeddings": 40}),
    ImageTower(config={"model_type": "siglip_vision_model", **PICTURES}),
]


@pytest.mark.parametrize("check", [check for config in OTHERS for check in checks(config)], ids=str)
def test_the_other_families(check: Check) -> None:
    check()

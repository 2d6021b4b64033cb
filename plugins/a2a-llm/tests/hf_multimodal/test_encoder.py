"""The encoder, beside the stock models."""

from __future__ import annotations

from copy import deepcopy

import attrs
import pytest
import torch
from transformers import AutoModel, ColQwen2Config, ColQwen2ForRetrieval

from a2a_core import A2AError, RunFailed
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Segment
from a2a_core.testing import checks
from a2a_core.testing.reference import ReferenceFusion, ReferenceHead
from a2a_llm.documents import Documents
from a2a_llm.hf_multimodal import HfMultimodal
from a2a_llm.hf_multimodal_encoder import HfMultimodalEncoder
from a2a_llm.hf_multimodal_prompt import PromptProcessor
from a2a_video.video import example_files as films

QWEN = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
ALL = ["llava", *QWEN, "qwen2_audio"]
TEXTS = ["what is it?", "b", "a longer question, of a cat"]


@pytest.fixture
def made(kit):
    """Name -> configuration, module with weights that matter, the stock model without its output layer with the same."""

    def build(name, **options):
        config = HfMultimodalEncoder(**{**kit.models[name], "prefix": "Q: ", "suffix": "</s>", **options}).resolved()
        torch.manual_seed(1)
        module = config.build().eval()
        for parameter in module.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        stock = AutoModel.from_config(config.configuration(), dtype=torch.float32).eval()
        stock.load_state_dict(module.model.state_dict())
        return config, module, stock

    return build


def stock_states(kit, config, stock, raw, **options):
    """Hidden states (T, C) of one text, picture, video or sound, as transformers' processors write it."""
    whole = HfMultimodal(
        **{
            name: getattr(config, name)
            for name in ("config", "tokenizer_data", "image_processor", "video_processor", "feature_extractor")
        }
    )
    tokenizer = config.text().tokenizer
    if isinstance(raw, str):
        return stock(**kit.stock_arguments(whole, tokenizer(f"{config.prefix}{raw}{config.suffix}").input_ids), **options)
    before, behind = ("<|vision_start|>", "<|vision_end|>") if config.config["model_type"] in QWEN else ("", "")
    around = [tokenizer(text, add_special_tokens=False).input_ids for text in (config.prefix + before, behind + config.suffix)]
    return stock(**kit.stock_arguments(whole, [*around[0], raw, *around[1]]), **options)


def compared(config, module, stock, kit, raws):
    """Every item in one batch is what the stock model makes of it alone."""
    processor = config.processor()
    items = [item_of(kit, processor, raw) for raw in raws]
    tokens = module(**processor.pad(items))
    assert tokens.mask.sum(1).tolist() == [item.length for item in items]
    for values, mask, raw in zip(tokens.values, tokens.mask, raws, strict=True):
        wanted = stock_states(kit, config, stock, raw, use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(values[mask], wanted, atol=1e-5, rtol=1e-5)
        assert not values[~mask].any()


def item_of(kit, processor, raw):
    """Of a text, a picture, a sound in its place, or frames."""
    if processor.wording.medium == "video":
        read = Read(processor.media, processor.media.made([0.5 * n + 0.25 for n in range(len(raw))], list(raw)))
        return PromptProcessor(processor.text, processor.wording, read, processor.space)(None)
    return processor(kit.heard(raw) if processor.wording.medium == "audio" else raw)


class Read:
    """A processor of videos that has read one."""

    def __init__(self, stock, item):
        self.step, self.item = stock.step, item

    def __call__(self, raw):
        return self.item


@pytest.mark.parametrize("layout", ["documents", "padded"])
@pytest.mark.parametrize("name", ALL)
def test_texts_are_what_the_stock_model_makes_of_each(kit, name, layout, made):
    config, module, stock = made(name, layout=layout)
    assert module.documents is (layout == "documents")
    compared(config, module, stock, kit, TEXTS)


@pytest.mark.parametrize("layout", ["documents", "padded"])
@pytest.mark.parametrize("name", ALL)
def test_media_are_what_the_stock_model_makes_of_each(kit, name, layout, made):
    config, module, stock = made(name, layout=layout, medium="audio" if name == "qwen2_audio" else "image")
    compared(config, module, stock, kit, [kit.picture(20, 33), kit.picture(8, 8), kit.picture(40, 12)])


@pytest.mark.parametrize("name", QWEN)
def test_videos_are_what_the_stock_model_makes_of_each(kit, name, made):
    config, module, stock = made(name, medium="video", video_processor=kit.any_size)
    compared(config, module, stock, kit, [kit.frames(5, 16, 24), kit.frames(1, 8, 8), kit.frames(4, 30, 9)])


@pytest.mark.parametrize("name", ALL)
def test_layers_are_those_of_the_stock_model(kit, name, made):
    for layer in (0, 1, -2):
        config, module, stock = made(name, layer=layer)
        processor = config.processor()
        tokens = module(**processor.pad([processor(text) for text in TEXTS]))
        wanted = stock_states(kit, config, stock, TEXTS[0], output_hidden_states=True).hidden_states[layer][0]
        torch.testing.assert_close(tokens.values[0][tokens.mask[0]], wanted, atol=1e-5, rtol=1e-5)
        assert "language_model.norm.weight" in module.unused
        assert not module.model.language_model.norm.weight.requires_grad
    with pytest.raises(A2AError, match="`layer` = 9, but the model has 3 hidden states"):
        made(name, layer=9)


KINDS = [("qwen3_vl", "video"), ("qwen3_vl", "image"), ("qwen2_vl", "text"), ("llava", "image"), ("qwen2_audio", "audio")]
KEPT = {
    "items_are_well_formed",
    "dummy_is_finite_and_short",
    "length_is_what_is_emitted",
    "padding_is_invisible",
    "neighbours_are_invisible",
    "missing_modality_is_invisible",
    "runs_on_meta",
}


@pytest.mark.parametrize(("name", "medium"), KINDS)
def test_other_models_and_media_keep_what_every_encoder_keeps(kit, name, medium):
    options = deepcopy(kit.models[name]) | ({"video_processor": {**kit.any_size, "fps": 5}} if medium == "video" else {})
    if medium == "audio":
        options["config"]["audio_config"]["max_source_positions"] = 30  # as long as the kit's sounds
    chosen = [check for check in checks(HfMultimodalEncoder(**options, medium=medium, prefix="See:")) if str(check) in KEPT]
    assert len(chosen) == len(KEPT)
    for check in chosen:
        check()


@pytest.mark.parametrize("name", ALL)
def test_texts_alone_have_every_parameter_in_the_graph(kit, name, made):
    config, module, _ = made(name)
    processor = config.processor()
    module(**processor.pad([processor(text) for text in TEXTS])).values[:0].sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None if parameter.requires_grad else key.removeprefix("model.") in module.unused, key
        assert parameter.grad is None or not parameter.grad.any()


def test_questions_as_texts_and_documents_as_pictures_share_one_model(kit, made):
    config, module, stock = made("qwen2_5_vl")
    config = attrs.evolve(config, medium="text")
    document = attrs.evolve(config, medium="image", prefix="", suffix="Describe.", like="query")
    encoders = {"query": config, "positive": document}
    model = A2AModel(A2AConfig(), Parts(encoders=encoders, fusion=ReferenceFusion(), heads={"head": ReferenceHead()}))
    model.encoders["query"].load_state_dict(module.state_dict())
    assert list(model.encoders) == ["query"]
    for key, raw in (("query", TEXTS[0]), ("positive", kit.picture(20, 33))):
        processor = encoders[key].processor()
        tokens = model.tokens(key, processor.pad([processor(raw)]))
        wanted = stock_states(kit, encoders[key], stock, raw).last_hidden_state
        torch.testing.assert_close(tokens.values, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_the_same_when_activations_are_computed_again(kit, name, made):
    config, module, _ = made(name, medium="audio" if name == "qwen2_audio" else "image")
    processor, found = config.processor(), []
    batch = processor.pad([item_of(kit, processor, kit.picture(*size)) for size in ((20, 33), (8, 8))])
    for again in (False, True):
        module.zero_grad()
        if again:
            module.train().model.activation_checkpointing_enable()
        module(**batch).values.square().sum().backward()
        found.append({key: each.grad.clone() for key, each in module.named_parameters() if each.requires_grad})
    for key, wanted in found[0].items():
        torch.testing.assert_close(found[1][key], wanted, atol=1e-4, rtol=1e-4, msg=key)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_vl"])
def test_weights_tokenizer_and_preprocessing_of_a_whole_model_travel(kit, name, tmp_path, parts, made):
    config, whole, _ = parts(name)
    whole.model.save_pretrained(tmp_path)
    config.processor().tokenizer.save_pretrained(tmp_path)
    config.media()["image"].processor.stock.save_pretrained(tmp_path)
    loaded = HfMultimodalEncoder(path=tmp_path, medium="image", prefix="Q: ").resolved()
    assert (loaded.resolved(), loaded.image_processor) == (loaded, config.image_processor)
    module = loaded.build()
    loaded.load(module)
    wanted = whole.model.model.state_dict()
    assert wanted.keys() == module.model.state_dict().keys()
    for key, value in module.model.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    assert set(module.parts) == {"vision", "merger", "llm", *(["merger.deepstack"] if name == "qwen3_vl" else [])}
    assert all(module.get_submodule(place) for place in module.parts.values())


def test_its_vectors_are_those_of_colqwen2(kit, made):
    """With the projection applied here. Stock ColQwen2 gives its model no grids: positions are handed over, as its authors do."""
    config, module, _ = made("qwen2_vl")
    stock = ColQwen2ForRetrieval(ColQwen2Config(vlm_config=config.configuration().to_dict(), embedding_dim=6)).eval()
    stock.vlm.load_state_dict(module.model.state_dict())
    prompt = {"prefix": "user\n", "suffix": "Describe the image.</s>"}
    for options, raws in (
        ({"medium": "text"}, TEXTS),
        ({"medium": "image", **prompt}, [kit.picture(20, 33), kit.picture(40, 12)]),
    ):
        processor = attrs.evolve(config, **options).processor()
        given = processor.pad([processor(raw) for raw in raws])
        tokens = module(**given)
        vectors = torch.nn.functional.normalize(stock.embedding_proj_layer(tokens.values), dim=-1) * tokens.mask[..., None]
        pictures = {}
        if "pixel_values" in given:
            pictures = {"pixel_values": given["pixel_values"], "image_grid_thw": torch.from_numpy(given["grids"])}
        wanted = stock(
            input_ids=given["input_ids"],
            attention_mask=tokens.mask.long(),
            position_ids=given["positions"].permute(2, 0, 1),
            use_cache=False,
            **pictures,
        ).embeddings
        torch.testing.assert_close(vectors, wanted, atol=1e-5, rtol=1e-5)


def test_a_long_text_loses_its_own_tail_and_a_picture_nothing(kit):
    options = {**kit.models["qwen2_5_vl"], "prefix": "Q: ", "suffix": "</s>"}
    whole = HfMultimodalEncoder(**options, max_length=8, truncate=True).processor()
    assert whole.text.tokenizer.decode(whole("abcdefg").tensors["input_ids"]) == "Q: abcd</s>"
    assert whole("abcd").length == 8
    with pytest.raises(ValueError, match=r"becomes 11 tokens; there may be 8 \(`truncate = true` drops the tail\)"):
        HfMultimodalEncoder(**options, max_length=8).processor()("abcdefg")
    with pytest.raises(ValueError, match="prefix and suffix alone are too long"):
        HfMultimodalEncoder(**options, max_length=3, truncate=True).processor()("abcdefg")
    picture = HfMultimodalEncoder(**options, max_length=9, truncate=True, medium="image").processor()
    assert picture(kit.picture(8, 8)).length == 7
    with pytest.raises(ValueError, match="becomes 21 tokens, 15 of them the image's own, which are never cut; there may be 9"):
        picture(kit.picture(24, 40))


def test_a_segment_is_read_where_the_recipe_asks_for_it(kit, tmp_path):
    options = {**kit.models["qwen3_vl"], "video_processor": {**kit.any_size, "fps": 5}, "medium": "video"}
    processor, film = HfMultimodalEncoder(**options, start="start").processor(), films(tmp_path)[0]
    whole, half = processor(film), processor(Segment(film, 0.0, 0.35))
    assert half.length < whole.length
    with pytest.raises(ValueError, match="its text has none"):
        HfMultimodalEncoder(**kit.models["qwen3_vl"]).processor()(Segment("a", 1.0))


def test_what_cannot_be_is_said(kit, made, monkeypatch):
    models = kit.models
    with pytest.raises(A2AError, match="a `llava` model reads no video; it reads text, image"):
        HfMultimodalEncoder(**models["llava"], medium="video").processor()
    with pytest.raises(A2AError, match=r"`prefix` holds `<\|vision_start\|>`.*\n.*leave it out"):
        HfMultimodalEncoder(**models["qwen2_vl"], medium="image", prefix="<|vision_start|>").processor()
    with pytest.raises(A2AError, match="`max_length` = 513, but the model has 512 positions"):
        HfMultimodalEncoder(**models["qwen2_vl"], max_length=513).processor()
    with pytest.raises(ValueError, match=r"the text holds `<\|image_pad\|>`, by which the model is told"):
        HfMultimodalEncoder(**models["qwen2_vl"]).processor()("a<|image_pad|>")
    config, module, _ = made("qwen2_5_vl")
    stock = module.states
    monkeypatch.setattr(
        module, "states", lambda embedded, positions, each: stock(embedded, positions, Documents([sum(each.lengths)]))
    )
    with pytest.raises(RunFailed, match="otherwise than each alone"):
        module(**config.processor().pad([config.processor()(text) for text in TEXTS]))

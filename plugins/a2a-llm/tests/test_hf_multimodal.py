from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForMultimodalLM, LlavaProcessor, ProcessorMixin, Qwen2_5_VLProcessor, WhisperFeatureExtractor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from a2a_core import A2AError, RunFailed
from a2a_core.builtin.pad import Pad
from a2a_core.structures import Row, Sample
from a2a_llm.hf_multimodal import HfMultimodal
from a2a_llm.hf_multimodal_model import grids_of
from a2a_llm.hf_multimodal_positions import spatial
from a2a_video.video import example_files

TEXT = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 270}
SMALL = {**TEXT, "hidden_size": 16, "max_position_embeddings": 512}
TOWER = {"depth": 3, "hidden_size": 16, "num_heads": 2, "patch_size": 4}
CLIP = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
ANY_SIZE = {"size": {"shortest_edge": 64, "longest_edge": 2048}}
MODELS = {
    "llava": {
        "config": {
            "model_type": "llava",
            "vision_config": {"model_type": "clip_vision_model", "image_size": 12, "patch_size": 4, **CLIP},
            "text_config": {"model_type": "llama", **SMALL},
        }
    },
    "llava-siglip": {
        "config": {
            "model_type": "llava",
            "vision_feature_select_strategy": "full",
            "vision_config": {"model_type": "siglip_vision_model", "image_size": 12, "patch_size": 4, **CLIP},
            "text_config": {"model_type": "qwen2", "num_key_value_heads": 1, **SMALL},
        }
    },
    "vipllava": {
        "config": {
            "model_type": "vipllava",
            "vision_feature_layers": [-1, 1],
            "vision_config": {"model_type": "clip_vision_model", "image_size": 12, "patch_size": 4, **CLIP},
            "text_config": {"model_type": "llama", **SMALL},
        }
    },
    "qwen2_vl": {
        "config": {
            "model_type": "qwen2_vl",
            "vision_config": {**TOWER, "embed_dim": 16},
            "text_config": {**SMALL, "num_key_value_heads": 1, "rope_parameters": MROPE},
        },
        "image_processor": ANY_SIZE,
    },
    "qwen2_5_vl": {
        "config": {
            "model_type": "qwen2_5_vl",
            "vision_config": {
                **TOWER,
                "intermediate_size": 24,
                "out_hidden_size": 16,
                "window_size": 16,
                "fullatt_block_indexes": [1],
            },
            "text_config": {**SMALL, "num_key_value_heads": 1, "rope_parameters": MROPE},
        },
        "image_processor": ANY_SIZE,
    },
    "qwen3_vl": {
        "config": {
            "model_type": "qwen3_vl",
            "vision_config": {
                **TOWER,
                "intermediate_size": 24,
                "out_hidden_size": 16,
                "num_position_embeddings": 25,
                "deepstack_visual_indexes": [0, 2],
            },
            "text_config": {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "rope_parameters": MROPE},
        },
        "image_processor": ANY_SIZE,
    },
}
MODELS["qwen2_audio"] = {
    "config": {
        "model_type": "qwen2_audio",
        "audio_config": {
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "num_mel_bins": 16,
            "max_source_positions": 20,
        },
        "text_config": {"model_type": "qwen2", "num_key_value_heads": 1, **SMALL},
    }
}
SEEING = [name for name in MODELS if name != "qwen2_audio"]
QWEN = [name for name in MODELS if name.endswith("_vl")]


def sound(samples):
    return np.random.default_rng(samples).normal(size=samples).astype(np.float32) / 10, 16000


def heard(each):
    """A sound about as long as a picture is large."""
    return sound(50 * each.shape[0] + 60 * each.shape[1])


def item_of(config, each):
    """What a model makes of a picture (H, W, 3), of the frames of a video (T, H, W, 3), or of a sound in its place."""
    media = config.media()
    if "audio" in media:
        return "audio", media["audio"].processor(heard(each))
    if each.ndim == 4:
        return "video", media["video"].processor.made([0.5 * n + 0.25 for n in range(len(each))], list(each))
    return "image", media["image"].processor(each)


def frames(count, height, width):
    return np.stack([np.roll(picture(height, width), n, 1) for n in range(count)])


def picture(height, width):
    generator = np.random.default_rng(height * 100 + width)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


ROWS = [
    [5, 9, picture(20, 33), 7],
    [picture(8, 8), 4, picture(40, 12), 3, 11, picture(25, 25), 2],
    [8, 4, 3],
    [1, picture(16, 48), 6],
]
"""Several pictures of several sizes, none, and one."""
FILMED = [
    [5, frames(5, 16, 24), 9, picture(20, 33), 7],
    [8, 4],
    [2, frames(1, 8, 8), 3, frames(4, 30, 9), 1],
    [3, picture(8, 8), 6],
]
"""Videos, beside pictures and alone."""
BARE = [[5, 9, 3, 7, 11], [2, 4]]


@pytest.fixture
def parts():
    """Name -> configuration, module with weights that matter, and the stock model with the same."""

    def made(name, **options):
        config = HfMultimodal(**{**MODELS[name], **options}).resolved()
        torch.manual_seed(1)
        module = config.build({}).eval()
        for parameter in module.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        stock = AutoModelForMultimodalLM.from_config(config.configuration(), dtype=torch.float32).eval()
        stock.load_state_dict(module.model.state_dict())
        return config, module, stock

    return made


def batch(config, rows):
    """`inputs`, as a collator that reads text makes them."""
    text, media = config.processor(), config.media()
    samples, ids, lengths, places = [], [], [], {key: [] for key in media}
    for row in rows:
        start, items = len(ids), {key: [] for key in media}
        for each in row:
            if isinstance(each, int):
                ids.append(each)
                continue
            key, item = item_of(config, each)
            more, own = text.expanded(key, item, item.length)
            items[key].append(item)
            places[key] += [len(ids) + place for place, mine in enumerate(own) if mine]
            ids += more
        lengths.append(len(ids) - start)
        samples.append(Sample(Row({}, "", None, ""), items, {}))
    inputs = Pad({key: each.processor for key, each in media.items()}, {})(samples)["inputs"]
    inputs["text"] = {
        "ids": torch.tensor(ids),
        "positions": torch.cat([torch.arange(length) for length in lengths]),
        "lengths": lengths,
        "media": {key: torch.tensor(each, dtype=torch.long) for key, each in places.items()},
    }
    return inputs


def stock_arguments(config, row):
    """A text alone, as transformers' own processor hands it over."""
    if config.config["model_type"] == "qwen2_audio":
        return stock_sounds(config, row)
    if any(not isinstance(each, int) and each.ndim == 4 for each in row):
        return stock_videos(config, row)
    images = [each for each in row if not isinstance(each, int)]
    processor, text = config.media()["image"].processor, config.processor()
    one, found = text.ids["image"], {}
    if images:
        prepared = processor.stock(images=[Image.fromarray(each) for each in images], return_tensors="pt")
        found = dict(prepared)
    lengths = iter(
        found["image_grid_thw"].prod(1) // 4
        if "image_grid_thw" in found
        else [processor.length] * len(images)
        if images
        else []
    )
    ids = torch.tensor([[n for each in row for n in ([each] if isinstance(each, int) else [one] * int(next(lengths)))]])
    kinds = {"mm_token_type_ids": (ids == one).int()} if config.config["model_type"] in QWEN else {}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **found, **kinds}


def stock_videos(config, row):
    """A text with pictures and videos, whose pixels are ours: transformers' own processors want torchvision."""
    inputs = batch(config, [row])
    ids, kinds = inputs["text"]["ids"][None], torch.zeros(1, len(inputs["text"]["ids"]), dtype=torch.long)
    told = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds}
    for number, (key, name) in enumerate({"image": "pixel_values", "video": "pixel_values_videos"}.items(), 1):
        kinds[0, inputs["text"]["media"][key]] = number
        if len(inputs[key]["row"]):
            tensors = inputs[key]["tensors"]
            told |= {name: tensors["pixel_values"], f"{key}_grid_thw": torch.tensor(tensors["grids"])}
            if key == "video" and config.config["model_type"] == "qwen2_5_vl":
                told["second_per_grid_ts"] = torch.tensor(tensors["steps"]) / 4
    return told


def stock_sounds(config, row):
    processor, one = config.media()["audio"].processor, config.processor().ids["audio"]
    ids, sounds = [], []
    for each in row:
        if isinstance(each, int):
            ids.append(each)
            continue
        sounds.append(heard(each)[0])
        length = -(-len(sounds[-1]) // 160)
        ids += [one] * (((length - 1) // 2 + 1 - 2) // 2 + 1)
    told = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if sounds:
        extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=0.4)
        extractor.n_samples, extractor.nb_max_frames = 40 * 160, 40
        made = extractor(sounds, sampling_rate=16000, return_attention_mask=True, padding="max_length", return_tensors="pt")
        assert processor.stock.limit == 40
        told |= {"input_features": made["input_features"], "feature_attention_mask": made["attention_mask"]}
    return told


def stock_logits(config, stock, rows):
    return torch.cat([stock(**stock_arguments(config, row), use_cache=False).logits[0] for row in rows])


def logits_of(module, inputs):
    fused = module({}, inputs)
    return fused.unembed(fused.hidden)


@pytest.mark.parametrize("layout", ["documents", "padded"])
@pytest.mark.parametrize("name", MODELS)
def test_each_text_is_what_the_stock_model_makes_of_it(name, layout, parts):
    config, module, stock = parts(name, layout=layout)
    assert module.documents is (layout == "documents")
    got = logits_of(module, batch(config, ROWS))
    torch.testing.assert_close(got, stock_logits(config, stock, ROWS), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_the_stock_model(name, parts):
    config, module, stock = parts(name)
    inputs = batch(config, ROWS)
    weights = torch.randn(len(inputs["text"]["ids"]), 270)
    (logits_of(module, inputs) * weights).sum().backward()
    (stock_logits(config, stock, ROWS) * weights).sum().backward()
    wanted = dict(stock.named_parameters())
    for key, parameter in module.model.named_parameters():
        if key in module.unused:
            assert not parameter.requires_grad
            assert wanted[key].grad is None
        else:
            torch.testing.assert_close(parameter.grad, wanted[key].grad, atol=5e-4, rtol=1e-3, msg=key)


@pytest.mark.parametrize("name", QWEN)
def test_positions_are_those_of_the_stock_model_and_begin_anew_in_each_text(name, parts):
    config, module, stock = parts(name)
    inputs = batch(config, ROWS)
    got = module.positions(inputs)
    wanted = []
    for row in ROWS:
        told = stock_arguments(config, row)
        told.pop("pixel_values", None)
        wanted.append(stock.model.get_rope_index(**told)[0][:, 0])
    assert torch.equal(got, torch.cat(wanted, 1))


def test_pictures_without_text_between_them_are_two():
    """The stock index takes neighbours for one medium; a place for each is what it does where text stands between."""
    grids = grids_of({"grids": [[1, 4, 2], [2, 2, 6]], "steps": [1.0, 2.5]}, 2, timestamps=False)
    got = spatial(torch.arange(10), [10], [(torch.arange(1, 9), grids)])
    assert got.tolist() == [
        [0, 1, 1, 3, 3, 3, 5, 5, 5, 6],
        [0, 1, 2, 3, 3, 3, 3, 3, 3, 6],
        [0, 1, 1, 3, 4, 5, 3, 4, 5, 6],
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_without_a_picture_reaches_every_parameter(name, parts):
    config, module, stock = parts(name)
    got = logits_of(module, batch(config, BARE))
    torch.testing.assert_close(got, stock_logits(config, stock, BARE), atol=2e-5, rtol=1e-4)
    got.square().sum().backward()
    for key, parameter in module.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, key
    for part in module.parts.keys() & {"vision", "audio", "merger"}:
        assert all(not each.grad.any() for each in module.get_submodule(module.parts[part]).parameters() if each.requires_grad)


@pytest.mark.parametrize("name", MODELS)
def test_generation_is_that_of_the_stock_model(name, parts):
    config, module, stock = parts(name)
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    got = module.generate({}, batch(config, ROWS), **options)
    for row, ids in zip(ROWS, got, strict=True):
        told = stock_arguments(config, row)
        assert ids == stock.generate(**told, **options)[0, told["input_ids"].shape[1] :].tolist()
    if name in QWEN:
        with pytest.raises(RunFailed, match="ends with a medium"):
            module.generate({}, batch(config, [[5, picture(8, 8)]]), **options)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_weights_tokenizer_and_preprocessing_of_a_directory_travel(name, tmp_path, parts):
    config, module, _ = parts(name)
    module.model.save_pretrained(tmp_path)
    config.processor().tokenizer.save_pretrained(tmp_path)
    config.media()["image"].processor.stock.save_pretrained(tmp_path)
    loaded = HfMultimodal(path=tmp_path).resolved()
    assert loaded.resolved() == loaded
    assert loaded.image_processor == config.image_processor
    assert loaded.processor().placeholder("image") == config.processor().placeholder("image")
    second = loaded.build({})
    loaded.load(second)
    for key, value in module.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    torch.testing.assert_close(logits_of(second.eval(), batch(loaded, ROWS)), logits_of(module, batch(config, ROWS)))


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_processors_can_be_sent_to_workers(name, parts):
    config, _, _ = parts(name)
    processor, text = pickle.loads(pickle.dumps((config.media()["image"].processor, config.processor())))
    one, other = processor(picture(20, 33)), config.media()["image"].processor(picture(20, 33))
    assert one.length == other.length
    assert all(torch.equal(value, other.tensors[key]) for key, value in one.tensors.items())
    assert text.expanded("image", one, 3) == ([text.tokenizer.convert_tokens_to_ids(text.placeholder("image"))] * 3, [True] * 3)
    with pytest.raises(ValueError, match="no medium of modality `smell`"):
        text.placeholder("smell")


def test_tokens_of_a_picture_are_as_many_as_stock_processors_write(parts):
    """transformers' LLaVA processor runs without torchvision; of Qwen's the part that needs none does."""
    config, _, _ = parts("llava")
    tokenizer, processor = config.processor().tokenizer, config.media()["image"].processor
    stock = LlavaProcessor(
        processor.stock, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    made = stock(images=[picture(20, 33)], text="a<image>b", return_tensors="pt")
    item = processor(picture(20, 33))
    assert torch.equal(made["pixel_values"][0], item.tensors["pixel_values"])
    one = tokenizer.convert_tokens_to_ids("<image>")
    assert made["input_ids"][0].tolist() == [100, *[one] * item.length, 101]

    config, _, _ = parts("qwen2_5_vl")
    tokenizer, processor = config.processor().tokenizer, config.media()["image"].processor
    stock = ImagesAlone(processor.stock, tokenizer)
    made = stock(images=[picture(20, 33), picture(40, 12)], text="a<|image_pad|>b<|image_pad|>", return_tensors="pt")
    items = [processor(picture(20, 33)), processor(picture(40, 12))]
    assert torch.equal(made["pixel_values"], processor.pad(items)["pixel_values"])
    assert made["image_grid_thw"].tolist() == processor.pad(items)["grids"]
    one = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert made["input_ids"][0].tolist() == [100, *[one] * items[0].length, 101, *[one] * items[1].length]


class ImagesAlone(Qwen2_5_VLProcessor):
    """Without the video processor, which insists on torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **_):
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = map(tokenizer.convert_tokens_to_ids, (self.image_token, self.video_token))
        self.video_processor = None
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def test_what_cannot_be_is_said(parts):
    with pytest.raises(ValueError, match="`hf-multimodal` runs no `llama` model"):
        HfMultimodal(config={"model_type": "llama"})
    with pytest.raises(A2AError, match="has an unknown key `sizes`.*\n.*`size`"):
        HfMultimodal(**{**MODELS["qwen2_vl"], "image_processor": {"sizes": 3}}).resolved()
    small = {**MODELS["llava"]["config"], "text_config": {"model_type": "llama", **SMALL, "vocab_size": 100}}
    with pytest.raises(A2AError, match="`image_token_id` = 259, and the model has `vocab_size` = 100"):
        HfMultimodal(config=small).resolved()
    with pytest.raises(A2AError, match="`image_processor.patch_size` = 8, and the model's `patch_size` is 4"):
        HfMultimodal(config=MODELS["qwen2_vl"]["config"], image_processor={"patch_size": 8}).build({})
    with pytest.raises(A2AError, match="reads media itself, and the recipe has encoders: `image`"):
        HfMultimodal(**MODELS["llava"]).build({"image": 8})
    with pytest.raises(A2AError, match="`image_processor` is given, and a `qwen2_audio` model reads no image"):
        HfMultimodal(**MODELS["qwen2_audio"], image_processor=ANY_SIZE).resolved()
    with pytest.raises(A2AError, match="`feature_extractor.feature_size` is 80, and the model takes 16 mels"):
        HfMultimodal(**MODELS["qwen2_audio"], feature_extractor={"feature_size": 80}).resolved()
    with pytest.raises(ValueError, match="shorter than a token, 480 samples"):
        HfMultimodal(**MODELS["qwen2_audio"]).media()["audio"].processor(sound(300))
    config, module, _ = parts("llava")
    with pytest.raises(A2AError, match="the collator gives none"):
        module({}, {"size": 1})
    with pytest.raises(ValueError, match="no image"):
        config.media()["image"].processor(b"nothing")


def test_a_model_that_leaks_is_refused_at_its_first_step(monkeypatch, parts):
    config, module, _ = parts("qwen2_5_vl")
    stock = module.states
    leaky = lambda embedded, positions, lengths, deep=None: stock(embedded, positions, [sum(lengths)], deep)  # noqa: E731
    monkeypatch.setattr(module, "states", leaky)
    with pytest.raises(RunFailed, match="otherwise than each alone.*padded"):
        module({}, batch(config, ROWS))


@pytest.mark.parametrize("name", QWEN)
def test_videos_are_what_the_stock_model_makes_of_them(name, parts):
    config, module, stock = parts(name, video_processor=ANY_SIZE)
    inputs = batch(config, FILMED)
    positions = [stock.model.get_rope_index(**without_pixels(stock_arguments(config, row)))[0][:, 0] for row in FILMED]
    assert torch.equal(module.positions(inputs), torch.cat(positions, 1))
    got = logits_of(module, inputs)
    torch.testing.assert_close(got, stock_logits(config, stock, FILMED), atol=2e-5, rtol=1e-4)
    got.square().sum().backward()
    assert all(each.grad is not None for each in module.parameters())
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    for row, ids in zip(FILMED, module.generate({}, inputs, **options), strict=True):
        told = stock_arguments(config, row)
        assert ids == stock.generate(**told, **options)[0, told["input_ids"].shape[1] :].tolist()


def without_pixels(told):
    return {key: value for key, value in told.items() if not key.startswith("pixel")}


@pytest.mark.parametrize("name", QWEN)
def test_frames_become_patches_as_transformers_lays_them(name, parts):
    processor = parts(name, video_processor=ANY_SIZE)[0].media()["video"].processor
    clip = frames(3, 32, 16)
    item = processor.made([0.25, 0.75, 1.25], list(clip))
    time, height, width = item.tensors["grid"].tolist()
    assert (time, item.length) == (2, 2 * height * width // 4)
    assert item.tensors["seconds"].tolist() == [0.5, 1.25]
    assert item.tensors["spacing"] == 1.0
    resized = [Image.fromarray(each).resize((4 * width, 4 * height), 3) for each in clip]
    pixels = torch.from_numpy(np.stack([np.asarray(each) for each in resized])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(processor.settings[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    wanted, *grid = Qwen3VLVideoProcessor.patchify(None, ((pixels - mean) / std)[None], 4, 2, 2)
    assert grid == [time, height, width]
    torch.testing.assert_close(item.tensors["pixel_values"], wanted[0], atol=1e-5, rtol=1e-5)


def test_the_frames_of_a_file_are_those_of_its_moments(tmp_path, parts):
    config, _, _ = parts("qwen3_vl", video_processor={**ANY_SIZE, "fps": 5})
    processor, text = pickle.loads(pickle.dumps((config.media()["video"].processor, config.processor())))
    item = processor(example_files(tmp_path)[0])  # 0.7 s, and the frames on at 0.1, 0.3, 0.5 s; the last once more
    assert item.tensors["seconds"].tolist() == pytest.approx([0.2, 0.5])
    ids, own = text.expanded("video", item, item.length)
    one, start, end = (text.tokenizer.convert_tokens_to_ids(f"<|{each}|>") for each in ("video_pad", *BORDERS))
    told = [text.tokenizer(f"<{second} seconds>").input_ids for second in (0.2, 0.5)]
    half = [one] * (item.length // 2)
    assert ids == [*told[0], start, *half, end, *told[1], start, *half, end]
    assert [place for place, each in zip(ids, own, strict=True) if each] == half * 2
    with pytest.raises(ValueError, match="video"):
        processor(b"nothing")


BORDERS = ("vision_start", "vision_end")

"""Whole multimodal models, small, with their media and the stock models beside them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForMultimodalLM, WhisperFeatureExtractor

from a2a_core.builtin.pad import Pad
from a2a_core.structures import Row, Sample
from a2a_llm.hf_multimodal import HfMultimodal

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


@pytest.fixture
def kit():
    """What tests of them are made of."""
    return SimpleNamespace(
        any_size=ANY_SIZE,
        bare=BARE,
        batch=batch,
        filmed=FILMED,
        frames=frames,
        heard=heard,
        logits_of=logits_of,
        models=MODELS,
        picture=picture,
        rows=ROWS,
        small=SMALL,
        sound=sound,
        stock_arguments=stock_arguments,
        stock_logits=stock_logits,
    )

"""What media become."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaProcessor, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

from a2a_video.video import example_files

QWEN = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_processors_can_be_sent_to_workers(kit, name, parts):
    config, _, _ = parts(name)
    processor, text = pickle.loads(pickle.dumps((config.media()["image"].processor, config.processor())))
    one, other = processor(kit.picture(20, 33)), config.media()["image"].processor(kit.picture(20, 33))
    assert one.length == other.length
    assert all(torch.equal(value, other.tensors[key]) for key, value in one.tensors.items())
    assert text.expanded("image", one, 3) == ([text.tokenizer.convert_tokens_to_ids(text.placeholder("image"))] * 3, [True] * 3)
    with pytest.raises(ValueError, match="no medium of modality `smell`"):
        text.placeholder("smell")


def test_tokens_of_a_picture_are_as_many_as_stock_processors_write(kit, parts):
    """transformers' LLaVA processor runs without torchvision; of Qwen's the part that needs none does."""
    config, _, _ = parts("llava")
    tokenizer, processor = config.processor().tokenizer, config.media()["image"].processor
    stock = LlavaProcessor(
        processor.stock, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    made = stock(images=[kit.picture(20, 33)], text="a<image>b", return_tensors="pt")
    item = processor(kit.picture(20, 33))
    assert torch.equal(made["pixel_values"][0], item.tensors["pixel_values"])
    one = tokenizer.convert_tokens_to_ids("<image>")
    assert made["input_ids"][0].tolist() == [100, *[one] * item.length, 101]

    config, _, _ = parts("qwen2_5_vl")
    tokenizer, processor = config.processor().tokenizer, config.media()["image"].processor
    stock = ImagesAlone(processor.stock, tokenizer)
    made = stock(images=[kit.picture(20, 33), kit.picture(40, 12)], text="a<|image_pad|>b<|image_pad|>", return_tensors="pt")
    items = [processor(kit.picture(20, 33)), processor(kit.picture(40, 12))]
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


@pytest.mark.parametrize("name", QWEN)
def test_frames_become_patches_as_transformers_lays_them(kit, name, parts):
    processor = parts(name, video_processor=kit.any_size)[0].media()["video"].processor
    clip = kit.frames(3, 32, 16)
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


def test_the_frames_of_a_file_are_those_of_its_moments(kit, tmp_path, parts):
    config, _, _ = parts("qwen3_vl", video_processor={**kit.any_size, "fps": 5})
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

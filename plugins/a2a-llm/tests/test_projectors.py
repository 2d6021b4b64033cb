"""Projectors against the models that they come from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import InternVLConfig, LlavaConfig
from transformers.models.internvl.modeling_internvl import InternVLModel, InternVLMultiModalProjector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from a2a_core import Tokens
from a2a_llm.attention import AttentionProjector
from a2a_llm.mlp import MlpProjector
from a2a_llm.pixel_shuffle import PixelShuffleProjector
from a2a_llm.pixel_shuffle_model import neighbours

WIDTH, OUT = 8, 24


def tokens(values: Tensor, *lengths: int) -> Tokens:
    mask = torch.arange(values.shape[1]) < torch.tensor(lengths or [values.shape[1]] * values.shape[0])[:, None]
    return Tokens(values, mask)


def test_mlp_is_llavas() -> None:
    theirs = LlavaMultiModalProjector(
        LlavaConfig(
            vision_config={"model_type": "clip_vision_model", "hidden_size": WIDTH, "num_attention_heads": 2},
            text_config={"model_type": "llama", "hidden_size": OUT, "num_attention_heads": 2},
        )
    )
    ours = MlpProjector().build(WIDTH, OUT)
    ours.load_state_dict(
        {
            name.replace("linear_1", "layers.0").replace("linear_2", "layers.2"): value
            for name, value in theirs.state_dict().items()
        }
    )
    values = torch.randn(3, 5, WIDTH)
    torch.testing.assert_close(ours(tokens(values)).values, theirs(values), rtol=0, atol=0)


def test_pixel_shuffle_is_internvls() -> None:
    config = InternVLConfig(
        vision_config={"hidden_size": WIDTH, "num_attention_heads": 2},
        text_config={"model_type": "llama", "hidden_size": OUT, "num_attention_heads": 2},
    )
    theirs, ours = InternVLMultiModalProjector(config), PixelShuffleProjector().build(WIDTH, OUT)
    names = {"layer_norm": "layers.0", "linear_1": "layers.1", "linear_2": "layers.3"}
    ours.load_state_dict(
        {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in theirs.state_dict().items()}
    )
    values = torch.randn(2, 36, WIDTH)
    shuffled = InternVLModel.pixel_shuffle(None, values.view(2, 6, 6, WIDTH), scale_factor=0.5).flatten(1, 2)
    torch.testing.assert_close(ours(tokens(values)).values, theirs(shuffled))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_blocks_of_squares_of_different_sides(factor: int) -> None:
    sides = [factor * each for each in (1, 3, 2)]
    longest = max(sides) ** 2
    values = torch.arange(3 * longest * 2, dtype=torch.float32).view(3, longest, 2)
    found, real = neighbours(values, tokens(values, *(side * side for side in sides)).mask, factor)
    for item, side in enumerate(sides):
        picture = values[item, : side * side].view(side, side, 2)
        blocks = [
            picture[top : top + factor, left : left + factor].flatten()
            for top in range(0, side, factor)
            for left in range(0, side, factor)
        ]
        assert real[item].sum() == len(blocks)
        torch.testing.assert_close(found[item, : len(blocks)], torch.stack(blocks), rtol=0, atol=0)
        assert not found[item, len(blocks) :].any()


@pytest.mark.parametrize("count", [2, 9, 36 + 1])
def test_what_is_no_square(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count} tokens"):
        PixelShuffleProjector().length(count)


def test_attention_by_the_formula() -> None:
    module = AttentionProjector(num_queries=3, layers=1, num_heads=1).build(WIDTH, OUT).double()
    medium = torch.randn(1, 5, WIDTH, dtype=torch.float64)
    layer, queries = module.layers[0], module.queries[None]
    asked = layer.query_norm(queries)
    every = torch.cat([layer.medium_norm(medium), asked], 1)
    key, value = every @ layer.key_value.weight.T[:, :WIDTH], every @ layer.key_value.weight.T[:, WIDTH:]
    scores = (asked @ layer.query.weight.T @ key.transpose(1, 2) / math.sqrt(WIDTH)).softmax(-1)
    queries = queries + scores @ value @ layer.out.weight.T
    queries = queries + layer.mlp(layer.mlp_norm(queries))
    wanted = module.leave(module.norm(queries))
    torch.testing.assert_close(module(tokens(medium)).values, wanted)
    assert AttentionProjector(num_queries=3).length(1000) == 3


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="multiple of `num_heads` = 8"):
        AttentionProjector(hidden_size=20)
    with pytest.raises(ValueError, match="has 20 channels inside"):
        AttentionProjector().build(20, OUT)

import numpy as np
import pytest
import torch

from a2a_core.errors import A2AError
from a2a_fusion.cross_attention import CrossAttention


def slowly(kit, module, sample, pool):
    """One sample, no padding: class token and query tokens ask what the sample has of the other modalities."""
    x = np.concatenate([module.class_token.detach().numpy(), kit.ragged(sample, module.query).numpy()])
    at = [0, *range(len(x) - 1)]
    context, context_at = np.zeros((0, kit.width)), []
    for mark, name in enumerate(module.others):
        tokens = kit.ragged(sample, name).numpy()
        context = np.concatenate([context, tokens + module.modality[mark].detach().numpy()])
        context_at += range(len(tokens))
    for layer, block in enumerate(module.self_blocks):
        if module.others:
            x = kit.block(module.cross_blocks[layer], x, at, context, context_at)
        x = kit.block(block, x, at)
    x = kit.apply(module.norm, x)
    return x, x[0] if pool == "class-token" else x.mean(0)


@pytest.mark.parametrize("pool", ["class-token", "mean"])
@pytest.mark.parametrize("query", ["image", "sound"])
def test_batched_and_masked_is_the_loop_over_samples(kit, pool, query):
    config = CrossAttention(layers=2, num_heads=2, query=query, pool=pool)
    module = kit.shaken(config.build(kit.widths))
    rows = kit.samples()
    fused = module(kit.pack(rows, extra=1), {"size": len(rows)})
    for index, sample in enumerate(rows):
        tokens, pooled = slowly(kit, module, sample, pool)
        np.testing.assert_allclose(fused.tokens.values[index][fused.tokens.mask[index]].detach().numpy(), tokens, atol=1e-10)
        np.testing.assert_allclose(fused.pooled[index].detach().numpy(), pooled, atol=1e-10)
        part = fused.parts[query]
        np.testing.assert_allclose(part.values[index][part.mask[index]].detach().numpy(), tokens[1:], atol=1e-10)
        other = fused.parts["text"]
        assert torch.equal(other.values[index][other.mask[index]], kit.ragged(sample, "text"))


def test_a_single_encoder_has_no_cross_attention(kit):
    module = kit.shaken(CrossAttention(layers=2, num_heads=2).build({"image": 8}))
    assert len(module.cross_blocks) == 0
    rows = kit.samples()
    fused = module(kit.pack(rows, names=("image",)), {"size": len(rows)})
    for index, sample in enumerate(rows):
        np.testing.assert_allclose(
            fused.pooled[index].detach().numpy(), slowly(kit, module, sample, "class-token")[1], atol=1e-10
        )


def test_where_the_query_is_missing_the_others_still_count(kit):
    module = kit.shaken(CrossAttention(layers=1, num_heads=2, query="image").build(kit.widths))
    encoded = kit.pack(kit.samples())
    module(encoded, {"size": 5}).pooled[2].square().sum().backward()  # the third sample has sound and text, no image
    assert encoded["sound"].values.grad.any()
    assert not encoded["image"].values.grad.any()


def test_the_first_encoder_by_name_asks_unless_the_recipe_says_who(kit):
    assert CrossAttention(num_heads=2).build(kit.widths).query == "image"
    assert CrossAttention(num_heads=2, query="text").build(kit.widths).query == "text"


def test_an_unknown_query_is_an_error_that_lists_the_encoders(kit):
    with pytest.raises(A2AError, match=r"`query` is `imge`, but the encoders are `image`, `sound`, `text`") as caught:
        CrossAttention(num_heads=2, query="imge").build(kit.widths)
    assert "did you mean `image`?" in str(caught.value)

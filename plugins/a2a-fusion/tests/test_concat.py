import numpy as np
import pytest
import torch

from a2a_fusion.concat import Concat


def pooled_by_numpy(module, tokens, pool):
    if len(tokens) == 0:
        return np.zeros(tokens.shape[1])
    if pool == "attention":
        scores = tokens @ module.score.weight.detach().numpy()[0]
        weights = np.exp(scores - scores.max())
        return weights @ tokens / weights.sum()
    return tokens.mean(0) if pool == "mean" else tokens.max(0)


@pytest.mark.parametrize("pool", ["mean", "max", "attention"])
@pytest.mark.parametrize("left", [False, True])
def test_every_sample_is_pooled_as_by_numpy(kit, pool, left):
    module = kit.shaken(Concat(pool=pool).build(kit.widths))
    rows = kit.samples()
    fused = module(kit.pack(rows, extra=2, left=left), {"size": len(rows)})
    for index, sample in enumerate(rows):
        tokens = torch.cat([kit.ragged(sample, name) for name in ("image", "sound", "text")]).numpy()
        expected = kit.apply(module.mlp, kit.apply(module.norm, pooled_by_numpy(module, tokens, pool)))
        np.testing.assert_allclose(fused.pooled[index].detach().numpy(), expected, atol=1e-12)
        np.testing.assert_array_equal(fused.tokens.values[index][fused.tokens.mask[index]].detach().numpy(), tokens)


def test_attention_pooling_starts_as_the_mean(kit):
    torch.manual_seed(0)
    attention = Concat(pool="attention").build(kit.widths).eval().double()
    mean = Concat(pool="mean").build(kit.widths).eval().double()
    mean.load_state_dict({name: value for name, value in attention.state_dict().items() if name != "score.weight"})
    rows = kit.samples()
    inputs = {"size": len(rows)}
    torch.testing.assert_close(attention(kit.pack(rows), inputs).pooled, mean(kit.pack(rows), inputs).pooled)

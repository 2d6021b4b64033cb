import numpy as np
import pytest

from a2a_fusion.perceiver import Perceiver


def slowly(kit, module, sample, layers):
    """One sample, no padding: latents read what the sample has."""
    latents = module.latents.detach().numpy()
    at, context, context_at = [0] * len(latents), np.zeros((0, kit.width)), []
    for mark, name in enumerate(module.names):
        tokens = kit.ragged(sample, name).numpy()
        context = np.concatenate([context, tokens + module.modality[mark].detach().numpy()])
        context_at += range(len(tokens))
    for layer in range(layers):
        reading = module.readings[min(layer, len(module.readings) - 1)]
        latents = kit.block(reading.cross, latents, at, context, context_at)
        for block in reading.blocks:
            latents = kit.block(block, latents, at)
    return kit.apply(module.norm, latents)


@pytest.mark.parametrize("share_weights", [False, True])
@pytest.mark.parametrize("self_layers", [0, 2])
def test_batched_and_masked_is_the_loop_over_samples(kit, share_weights, self_layers):
    config = Perceiver(num_latents=4, layers=3, self_layers=self_layers, share_weights=share_weights, num_heads=2)
    module = kit.shaken(config.build(kit.widths))
    rows = kit.samples()
    fused = module(kit.pack(rows, extra=1), {"size": len(rows)})
    for index, sample in enumerate(rows):
        latents = slowly(kit, module, sample, 3)
        np.testing.assert_allclose(fused.tokens.values[index].detach().numpy(), latents, atol=1e-10)
        np.testing.assert_allclose(fused.pooled[index].detach().numpy(), latents.mean(0), atol=1e-10)


@pytest.mark.parametrize(("layers", "shared", "own"), [(1, 1, 1), (2, 2, 2), (5, 2, 5)])
def test_all_layers_but_the_first_share_their_weights(kit, layers, shared, own):
    sharing = Perceiver(num_heads=2, layers=layers, share_weights=True).build(kit.widths)
    assert len(sharing.readings) == shared
    assert len(Perceiver(num_heads=2, layers=layers).build(kit.widths).readings) == own

import numpy as np
import pytest
import torch

from a2a_fusion.bottleneck import Bottleneck


def slowly(kit, module, sample, pool):
    """Section 3.2.2 of the paper for one sample, with the modalities that it has and no padding anywhere."""
    streams = {name: kit.ragged(sample, name).numpy() for name in ("image", "sound", "text") if sample.get(name)}
    shared = module.bottlenecks.detach().numpy()
    for layer in range(module.layers):
        proposals = []
        for name, x in streams.items():
            block = module.blocks[name][layer]
            if layer < module.fusion_layer:
                streams[name] = kit.block(block, x, range(len(x)))
                continue
            out = kit.block(block, np.concatenate([x, shared]), [*range(len(x)), *[0] * len(shared)])
            streams[name] = out[: len(x)]
            proposals.append(out[len(x) :])
        if proposals:
            shared = np.mean(proposals, axis=0)
    streams = {name: kit.apply(module.norm, x) for name, x in streams.items()}
    shared = kit.apply(module.norm, shared)
    if pool == "bottleneck":
        return streams, shared, shared.mean(0)
    return streams, shared, np.mean([x.mean(0) for x in streams.values()], axis=0) if streams else np.zeros(kit.width)


@pytest.mark.parametrize(
    ("layers", "fusion_layer", "pool", "gate"),
    [(1, 0, "bottleneck", "none"), (3, 0, "bottleneck", "head"), (3, 1, "mean", "channel"), (3, 2, "bottleneck", "head")],
)
def test_batched_and_masked_is_the_loop_over_samples_and_modalities(kit, pool, layers, fusion_layer, gate):
    config = Bottleneck(layers=layers, fusion_layer=fusion_layer, num_bottlenecks=3, num_heads=2, pool=pool, gate=gate)
    module = kit.shaken(config.build(kit.widths))
    rows = kit.samples()
    fused = module(kit.pack(rows, extra=1), {"size": len(rows)})
    assert fused.size == len(rows)
    for index, sample in enumerate(rows):
        streams, shared, pooled = slowly(kit, module, sample, pool)
        np.testing.assert_allclose(fused.tokens.values[index].detach().numpy(), shared, atol=1e-10)
        np.testing.assert_allclose(fused.pooled[index].detach().numpy(), pooled, atol=1e-10)
        for name, part in fused.parts.items():
            real = part.values[index][part.mask[index]].detach().numpy()
            np.testing.assert_allclose(real, streams.get(name, real[:0]), atol=1e-10)


def test_modalities_exchange_nothing_but_through_the_bottlenecks(kit):
    """In the one fusing layer a modality's tokens cannot know of the others yet; the bottlenecks do."""
    module = kit.shaken(Bottleneck(layers=1, fusion_layer=0, num_heads=2).build(kit.widths))
    rows = kit.samples()
    encoded = kit.pack(rows)
    fused = module(encoded, {"size": len(rows)})
    sound = encoded["sound"].values
    image = fused.parts["image"].values.square().sum()
    assert torch.autograd.grad(image, sound, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(fused.pooled.square().sum(), sound)[0].any()


def test_with_two_fusing_layers_they_do(kit):
    module = kit.shaken(Bottleneck(layers=2, fusion_layer=0, num_heads=2).build(kit.widths))
    rows = kit.samples()
    encoded = kit.pack(rows)
    module(encoded, {"size": len(rows)}).parts["image"].values.square().sum().backward()
    assert encoded["sound"].values.grad[0].any()
    assert not encoded["sound"].values.grad[2].any()  # the third sample has sound and text, no image


def test_gates_that_close_in_every_layer_separate_the_modalities(kit):
    module = kit.shaken(Bottleneck(layers=3, num_heads=2).build(kit.widths))
    for name, parameter in module.named_parameters():
        if name.endswith("gate.bias"):
            torch.nn.init.constant_(parameter, -1e4)
    encoded = kit.pack(kit.samples())
    module(encoded, {"size": 5}).pooled.square().sum().backward()
    assert max(tokens.values.grad.abs().max() for tokens in encoded.values()) < 1e-12


def test_a_sample_without_anything_keeps_the_learned_bottlenecks(kit):
    module = kit.shaken(Bottleneck(num_heads=2).build(kit.widths))
    fused = module(kit.pack(kit.samples()), {"size": 5})
    torch.testing.assert_close(fused.tokens.values[4], module.norm(module.bottlenecks))


def test_a_recipe_in_which_no_layer_fuses_is_refused():
    with pytest.raises(ValueError, match="`fusion_layer` 2 must be below `layers` 2"):
        Bottleneck(layers=2, fusion_layer=2)

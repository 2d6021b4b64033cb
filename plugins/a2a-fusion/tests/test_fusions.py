"""What every fusion must keep to, whatever it does inside."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from a2a_core.errors import A2AError
from a2a_core.structures import Tokens
from a2a_fusion.bottleneck import Bottleneck
from a2a_fusion.concat import Concat
from a2a_fusion.cross_attention import CrossAttention
from a2a_fusion.perceiver import Perceiver
from a2a_fusion.plugin import a2a_fusions

SMALL = {"width": 8, "num_heads": 2, "mlp_ratio": 2.0, "dropout": 0.0}
CONFIGS = {
    "concat": Concat(width=8, dropout=0.0),
    "concat-max": Concat(width=8, dropout=0.0, pool="max"),
    "concat-attention": Concat(width=8, dropout=0.0, pool="attention"),
    "bottleneck": Bottleneck(layers=3, fusion_layer=1, **SMALL),
    "bottleneck-mean": Bottleneck(layers=2, fusion_layer=1, pool="mean", gate="channel", **SMALL),
    "cross-attention": CrossAttention(**SMALL),
    "cross-attention-mean": CrossAttention(pool="mean", query="text", gate="none", **SMALL),
    "perceiver": Perceiver(num_latents=3, self_layers=1, **SMALL),
    "perceiver-shared": Perceiver(num_latents=3, layers=3, self_layers=0, share_weights=True, **SMALL),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture
def module(config, kit):
    return kit.shaken(config.build(kit.widths), 0.1).float()


def run(module, encoded, size):
    fused = module(encoded, {"size": size})
    return fused, {name: [part.values[i][part.mask[i]] for i in range(size)] for name, part in fused.parts.items()}


def same(one, other, rows, others=None):
    """Samples `rows` of one batch are samples `others` of another."""
    others = rows if others is None else others
    torch.testing.assert_close(one[0].pooled[rows], other[0].pooled[others], atol=1e-5, rtol=1e-5)
    for name, tokens in one[1].items():
        for row, counterpart in zip(rows, others, strict=True):
            torch.testing.assert_close(tokens[row], other[1][name][counterpart], atol=1e-5, rtol=1e-5)
            left, right = (x.tokens.values[i][x.tokens.mask[i]] for x, i in ((one[0], row), (other[0], counterpart)))
            torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_shapes_and_widths(config, kit):
    module = config.build(kit.widths)
    assert module.input_width == module.width == 8
    rows = kit.samples()
    fused = module(kit.pack(rows, dtype=torch.float32), {"size": len(rows)})
    assert fused.pooled.shape == (5, 8)
    assert fused.tokens.values.shape[:2] == fused.tokens.mask.shape
    assert set(fused.parts) == set(kit.widths)
    for part in fused.parts.values():
        assert part.row is None
        assert not part.values[~part.mask].any()


@pytest.mark.parametrize(
    "how", [{"extra": 3}, {"extra": 3, "left": True}, {"junk": float("nan")}, {"junk": 1e30}, {"backwards": True}]
)
def test_padding_and_the_order_of_items_are_invisible(module, kit, how):
    rows = kit.samples()
    plain = run(module, kit.pack(rows, dtype=torch.float32), 5)
    same(run(module, kit.pack(rows, dtype=torch.float32, **how), 5), plain, range(5))


def test_neighbours_are_invisible(module, kit):
    rows = kit.samples()
    together = run(module, kit.pack(rows, dtype=torch.float32), 5)
    for index, sample in enumerate(rows):
        same(together, run(module, kit.pack([sample], dtype=torch.float32), 1), [index], [0])
    crowded = [*rows[::-1], {"image": kit.items(9, 9, 9), "sound": [], "text": kit.items(30)}]
    same(run(module, kit.pack(crowded, dtype=torch.float32), 6), together, range(5), range(4, -1, -1))


def test_gradients_do_not_cross_samples_or_come_out_of_padding(module, kit):
    rows = kit.samples()
    encoded = kit.pack(rows, extra=2, dtype=torch.float32)
    module(encoded, {"size": 5}).pooled[1].square().sum().backward()
    reached = False
    for tokens in encoded.values():
        own = (tokens.row == 1)[:, None] & tokens.mask
        assert not tokens.values.grad[~own].any()
        reached |= bool(tokens.values.grad[own].any())
    assert reached


def touched(fused):
    """A scalar that a head on the pooled vector would have (the sum alone is constant after a norm)."""
    return (fused.pooled * torch.linspace(-1, 2, fused.pooled.numel()).view_as(fused.pooled)).sum()


def test_every_parameter_receives_a_gradient(config, kit):
    torch.manual_seed(0)
    module = config.build(kit.widths)
    rows = kit.samples()[:2]
    touched(module(kit.pack(rows, dtype=torch.float32), {"size": 2})).backward()
    dead = [name for name, parameter in module.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not dead


@pytest.mark.parametrize(
    ("missing", "slots"),
    [(("image",), 1), (("text", "sound"), 0), (("image", "sound", "text"), 0), (("image", "sound", "text"), 1)],
)
def test_a_modality_that_the_batch_lacks_is_connected_with_zero_gradient(config, kit, missing, slots):
    torch.manual_seed(0)
    module = config.build(kit.widths)
    rows = [{name: given for name, given in sample.items() if name not in missing} for sample in kit.samples()[:2]]
    encoded = {
        name: tokens._replace(slots=slots) if name in missing else tokens
        for name, tokens in kit.pack(rows, dtype=torch.float32).items()
    }
    fused = module(encoded, {"size": 2})
    touched(fused).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if any(f"blocks.{modality}." in name for modality in missing):
            assert not parameter.grad.any(), name
    assert torch.isfinite(fused.pooled).all()


def test_a_single_encoder(config, kit):
    if getattr(config, "query", ""):
        config = CrossAttention(pool="mean", **SMALL)
    torch.manual_seed(0)
    module = config.build({"sound": 6})
    rows = kit.samples()
    fused = module(kit.pack(rows, names=("sound",), dtype=torch.float32), {"size": 5})
    assert torch.isfinite(fused.pooled).all()
    touched(fused).backward()
    # a modality embedding that every token shares may do nothing through a norm, all else must
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_bfloat16_autocast_is_close_to_float32_and_trains(config, kit):
    torch.manual_seed(0)
    module = config.build(kit.widths)
    encoded = kit.pack(kit.samples(), dtype=torch.float32)
    exact = module(encoded, {"size": 5}).pooled
    half = {name: tokens._replace(values=tokens.values.bfloat16()) for name, tokens in encoded.items()}
    with torch.autocast("cpu", torch.bfloat16):
        pooled = module(half, {"size": 5}).pooled.float()
    torch.testing.assert_close(pooled, exact, atol=0.1, rtol=0.1)
    pooled.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


def test_a_module_in_bfloat16_runs(config, kit):
    module = config.build(kit.widths).bfloat16()
    fused = module(kit.pack(kit.samples(), dtype=torch.float32), {"size": 5})
    assert fused.pooled.dtype == torch.bfloat16
    assert torch.isfinite(fused.pooled).all()


def test_builds_and_runs_on_the_meta_device(config, kit):
    with torch.device("meta"):
        module = config.build(kit.widths)
    encoded = {
        name: Tokens(*(x.to("meta") for x in tokens[:4]), tokens.slots) for name, tokens in kit.pack(kit.samples()).items()
    }
    fused = module(encoded, {"size": 5})
    assert fused.pooled.is_meta
    assert fused.pooled.shape == (5, 8)
    assert all(parameter.is_meta for parameter in module.parameters())
    assert not list(module.buffers())


@pytest.mark.parametrize("kind", [Concat, Bottleneck, CrossAttention, Perceiver])
def test_one_graph_without_breaks(kind, kit, tmp_path):
    module = kind.tiny(tmp_path).build(kit.widths).eval()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    encoded = kit.pack(kit.samples(), dtype=torch.float32)
    torch.testing.assert_close(compiled(encoded, {"size": 5}).pooled, module(encoded, {"size": 5}).pooled)


def test_the_order_in_which_encoders_are_named_does_not_matter(config, kit):
    torch.manual_seed(3)
    one = config.build(kit.widths)
    torch.manual_seed(3)
    other = config.build(dict(sorted(kit.widths.items(), reverse=True)))
    assert list(one.state_dict()) == list(other.state_dict())
    encoded = kit.pack(kit.samples(), dtype=torch.float32)
    backwards = dict(reversed(encoded.items()))
    assert torch.equal(one(encoded, {"size": 5}).pooled, other(backwards, {"size": 5}).pooled)


def test_what_is_saved_is_what_runs(config, kit):
    one, other = config.build(kit.widths), config.build(kit.widths)
    other.load_state_dict(one.state_dict())
    encoded = kit.pack(kit.samples(), dtype=torch.float32)
    assert torch.equal(one(encoded, {"size": 5}).pooled, other(encoded, {"size": 5}).pooled)


def test_dropout_is_on_in_training_only(kit):
    shape = {"num_heads": 2, "layers": 2, "dropout": 0.5}
    for config in (Concat(dropout=0.5), Bottleneck(**shape), CrossAttention(**shape), Perceiver(num_latents=2, **shape)):
        module = config.build(kit.widths)
        encoded = kit.pack(kit.samples(), dtype=torch.float32)
        once, again = (module(encoded, {"size": 5}).pooled for _ in range(2))
        assert not torch.equal(once, again)
        module.eval()
        once, again = (module(encoded, {"size": 5}).pooled for _ in range(2))
        assert torch.equal(once, again)


@pytest.mark.parametrize("kind", [Concat, Bottleneck, CrossAttention, Perceiver])
def test_the_widest_encoder_gives_the_width_unless_the_recipe_does(kind):
    assert kind().build({"a": 16, "b": 24}).width == 24
    assert kind(width=32).build({"a": 16, "b": 24}).input_width == 32


@pytest.mark.parametrize("kind", [Bottleneck, CrossAttention, Perceiver])
def test_heads_that_do_not_fit_are_refused(kind):
    with pytest.raises(ValueError, match="`width` 20 does not give 4 heads an even number of channels each"):
        kind(width=20)
    with pytest.raises(A2AError, match="20 channels, the widest encoder's, do not give 4 heads") as caught:
        kind().build({"a": 20})
    assert "fusion.width to a multiple of 8" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Concat, "width", 0), (Concat, "dropout", 1.0), (Concat, "mlp_ratio", 0.0), (Bottleneck, "layers", 0), (Bottleneck, "num_heads", 0),
        (Bottleneck, "num_bottlenecks", 0), (Bottleneck, "fusion_layer", -1), (CrossAttention, "layers", 0), (Perceiver, "num_latents", 0),
        (Perceiver, "self_layers", -1), (Perceiver, "dropout", -0.1),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(kind, key, value):
    with pytest.raises(ValueError, match=f"`{key}` must be"):
        kind(**{key: value})


@pytest.mark.parametrize("kind", [Concat, Bottleneck, CrossAttention, Perceiver])
def test_a_model_without_encoders_is_refused(kind):
    with pytest.raises(A2AError, match="at least one encoder"):
        kind().build({})


def test_the_plugin_offers_all_four_under_their_names(tmp_path: Path):
    offers = a2a_fusions()
    for kind in (Concat, Bottleneck, CrossAttention, Perceiver):
        assert offers[kind.name] == f"{kind.__module__}:{kind.__name__}"
        assert kind.tiny(tmp_path).build({"a": 3, "b": 5}).width == 8
    assert len(offers) == 4


def test_configs_import_no_torch():
    modules = "a2a_fusion.plugin, a2a_fusion.concat, a2a_fusion.bottleneck, a2a_fusion.cross_attention, a2a_fusion.perceiver"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

import numpy as np
import pytest
import torch

from a2a_core.structures import Tokens
from a2a_fusion.attention import rotate
from a2a_fusion.streams import gather, join, learned, masked_max, masked_mean, masked_softmax, place, rotation


def test_rotation_is_a_product_with_complex_numbers(kit):
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    positions = torch.tensor([[0, 1, 2, 3, 40, 5000], [7, 7, 0, 1, 2, 300]])
    ours = rotate(x, *rotation(positions, 8, torch.float64))
    for sample in range(2):
        np.testing.assert_allclose(ours[sample].numpy(), kit.turned(x[sample].numpy(), positions[sample]), atol=1e-10)


def test_scores_depend_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    def at(x, position):
        return rotate(x, *rotation(torch.tensor([[position]]), 16, torch.float64))

    scores = [float((at(query, 5 + shift) * at(key, 2 + shift)).sum()) for shift in (0, 1, 100)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-9)
    assert abs(scores[0] - float((at(query, 5) * at(key, 3)).sum())) > 1e-6


def test_bfloat16_positions_are_counted_in_float32():
    far = torch.tensor([[256, 257, 1000, 1001]])
    cos, sin = rotation(far, 4, torch.bfloat16)
    assert cos.dtype == torch.float32
    torch.testing.assert_close(sin[0, :, 0], far[0].double().sin().float(), atol=1e-4, rtol=0)


def test_padding_shifts_no_position_and_shapes_are_not_remembered():
    values = torch.randn(1, 5, 4)
    masks = ([1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1])
    for mask in masks:
        real = torch.tensor([mask], dtype=torch.bool)
        stream = place(Tokens(values, real), 4)
        torch.testing.assert_close(stream.cos[real], rotation(torch.arange(3)[None], 4, torch.float32)[0][0])


def test_learned_tokens_are_not_rotated_and_join_keeps_positions():
    tokens = torch.randn(2, 4)
    stream = learned(tokens, 3, 4)
    assert torch.equal(stream.cos, torch.ones(3, 2, 2))
    assert torch.equal(stream.sin, torch.zeros(3, 2, 2))
    other = place(Tokens(torch.randn(3, 5, 4), torch.ones(3, 5, dtype=torch.bool)), 4)
    joined = join([other, stream])
    assert joined.values.shape == (3, 7, 4)
    assert torch.equal(joined.cos[:, :5], other.cos)
    assert torch.equal(joined.values[:, 5:], tokens.expand(3, -1, -1))


def test_gather_lets_nothing_out_of_padding():
    values = torch.full((1, 3, 2), float("nan"))
    values[0, 0] = 1.0
    values.requires_grad_()
    tokens = Tokens(values, torch.tensor([[True, False, False]]), torch.tensor([1]), torch.tensor([0]), 1)
    part = gather({"a": tokens}, ["a"], 2, torch.float32)["a"]
    assert part.values.tolist() == [[[0, 0]] * 3, [[1, 1], [0, 0], [0, 0]]]
    part.values.square().sum().backward()
    assert values.grad.tolist() == [[[2, 2], [0, 0], [0, 0]]]


@pytest.mark.parametrize(("pool", "reference"), [(masked_mean, np.mean), (masked_max, np.max)])
def test_pools_agree_with_numpy_sample_by_sample(pool, reference):
    values = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0] * 6], dtype=torch.bool)
    pooled = pool(values, mask)
    for sample in range(3):
        real = values[sample][mask[sample]].detach().numpy()
        np.testing.assert_allclose(pooled[sample].detach().numpy(), reference(real, axis=0), rtol=1e-12)
    assert torch.equal(pooled[3], torch.zeros(3, dtype=torch.float64))
    pooled.sum().backward()
    assert torch.isfinite(values.grad).all()
    assert torch.equal(values.grad[~mask], torch.zeros_like(values.grad[~mask]))


@pytest.mark.parametrize("pool", [masked_mean, masked_max])
def test_pools_take_a_sequence_without_length(pool):
    values = torch.zeros(2, 0, 3, requires_grad=True)
    pooled = pool(values, torch.zeros(2, 0, dtype=torch.bool))
    assert torch.equal(pooled, torch.zeros(2, 3))
    pooled.sum().backward()


def test_masked_softmax_sums_to_one_or_to_nothing():
    scores = torch.randn(3, 4, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(weights[0, mask[0]], scores[0, mask[0]].softmax(0))
    weights.square().sum().backward()
    assert torch.isfinite(scores.grad).all()

import numpy as np
import pytest
import torch

from a2a_core import Segment
from a2a_timeseries.series import SeriesEncoder


def processor(**options):
    return SeriesEncoder(**{"reads": "value", "patch_size": 4, **options}).processor()


def noise(steps, channels=2, seed=0):
    return np.random.default_rng(seed).normal(2, 3, (steps, channels))


def same(one, other, tolerance=0.0):
    assert one.length == other.length
    assert torch.equal(one.tensors["positions"], other.tensors["positions"])
    torch.testing.assert_close(one.tensors["features"], other.tensors["features"], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("steps", "length"), [(1, 1), (4, 1), (5, 2), (8, 2), (401, 101)])
def test_a_token_for_every_patch(steps, length):
    item = processor(channels=2)(noise(steps))
    assert item.length == length
    assert item.tensors["features"].shape == (length, 2 * 2 * 4 + 2 * 2)
    assert item.tensors["positions"].tolist() == list(range(length))


@pytest.mark.parametrize("rate", [0.1, 1, 3, 10, 44.1, 1000])
def test_regular_timestamps_are_the_same_as_none(rate):
    process, values = processor(channels=2, sample_rate=rate), noise(1000)
    times = (np.arange(1000) / rate).tolist()
    same(process(values), process({"time": times, "values": values}), 1e-4)
    same(process(values), process({"time": [1.7e9 + second for second in times], "values": values}), 2e-3)


def test_windows_without_a_value_are_no_tokens():
    item = processor(channels=1)({"time": [0.0, 3.9, 4.0, 1000.2], "values": [1, 2, 3, 5]})
    assert item.tensors["positions"].tolist() == [0, 1, 250]
    assert processor(channels=1)([None] * 9 + [1.0]).tensors["positions"].tolist() == [2]


def test_values_of_a_patch_come_back_from_its_features():
    values = noise(8)
    features = processor(channels=2, normalize="fixed")(values).tensors["features"].reshape(2, 2, 2, 4).double().numpy()
    angles = 2 * np.pi * np.arange(4) / 4
    waves = np.array([np.ones(4), np.sqrt(2) * np.cos(angles), np.cos(2 * angles), np.sqrt(2) * np.sin(angles)]) / 2
    wanted = values.reshape(2, 4, 2)
    assert np.einsum("tcb,bi->tic", features[:, :, 0], waves) == pytest.approx(wanted, abs=1e-5)
    assert features[:, :, 1] == pytest.approx(np.broadcast_to([1, 0, 0, 0], (2, 2, 4)), abs=1e-6)


def test_the_order_of_the_steps_changes_nothing():
    random, values = np.random.default_rng(1), noise(60)
    times = np.round(random.random(60) * 50, 1)  # some of them twice
    values[random.random((60, 2)) < 0.3] = np.nan
    process = processor(channels=2)
    for _ in range(3):
        order = random.permutation(60)
        one = process({"time": times.tolist(), "values": values})
        same(one, process({"time": times[order].tolist(), "values": values[order]}))


def test_channels_that_are_sampled_apart_are_as_missing_values():
    process = processor(channels=("x", "y"))
    apart = {"x": {"time": [0, 2.5, 9], "values": [1, 2, 3]}, "y": {"time": [1, 2.5], "values": [7, 8]}}
    together = {"time": [0, 1, 2.5, 9], "x": [1, None, 2, 3], "y": [None, 7, 8, None]}
    same(process(apart), process(together))


def test_normalised_by_the_series_own_values():
    values = noise(40)
    values[3:30, 1] = np.nan
    process, fixed = processor(channels=2), processor(channels=2, normalize="fixed")
    standard = (values - np.nanmean(values, 0)) / np.nanstd(values, 0)
    item = process(values)
    torch.testing.assert_close(item.tensors["features"][:, :-4], fixed(standard).tensors["features"], atol=1e-5, rtol=0)
    mean, std = np.nanmean(values, 0), np.nanstd(values, 0)
    level = np.concatenate([np.sign(mean) * np.log10(1 + abs(mean)), np.log10(std)])
    assert item.tensors["features"][:, -4:].numpy() == pytest.approx(np.broadcast_to(level, (10, 4)), abs=1e-6)


def test_level_and_scale_change_only_what_is_told_of_them():
    one, other = (processor(channels=2)(values).tensors["features"] for values in (noise(30), 1e-4 * noise(30) - 50))
    torch.testing.assert_close(one[:, :-4], other[:, :-4], atol=1e-4, rtol=0)
    assert (one[:, -4:] - other[:, -4:]).abs().min() > 1


def test_a_constant_channel_is_zero():
    features = processor(channels=1)([0.1] * 30).tensors["features"].reshape(8, -1)
    assert features[:, :4].abs().max() < 1e-6
    assert features.isfinite().all()
    tiny = processor(channels=1)([1e-12 * (step % 3) for step in range(30)]).tensors["features"]
    assert tiny[:, 1:4].abs().max() > 0.5


def test_fixed_mean_and_deviation():
    values = noise(12)
    one = processor(channels=2, normalize="fixed", mean=(1.0, -2.0), std=(3.0, 0.5))(values)
    same(one, processor(channels=2, normalize="fixed")((values - [1, -2]) / [3, 0.5]), 1e-5)
    same(
        processor(channels=2, normalize="fixed", mean=(2.0,), std=(4.0,))(values),
        processor(channels=2, normalize="fixed")((values - 2) / 4),
        1e-5,
    )


@pytest.mark.parametrize("timed", [False, True])
def test_a_segment_is_what_was_measured_in_it(timed):
    process, values = processor(channels=2, sample_rate=10.0), noise(100)
    times = 100 + np.arange(100) / 10
    raw = {"time": times.tolist(), "values": values} if timed else values
    for start, end in ((0.0, 0.3), (0.3, 0.9), (2.0, None), (9.9, 10.0), (9.0, 10.8)):
        first, last = round(start * 10), 100 if end is None else round(end * 10)
        same(process(Segment(raw, start, end)), process(values[first:last]), 1e-4)
    for start, end in ((10.0, None), (3.0, 12.0)):
        with pytest.raises(ValueError, match="past the end of the recording, which lasts 10.000 s"):
            process(Segment(raw, start, end))


def test_a_segment_without_a_value():
    with pytest.raises(ValueError, match="no value from 3 s to 5 s"):
        processor(channels=1)(Segment({"time": [0, 1, 9], "values": [1, 2, 3]}, 3.0, 5.0))


def test_a_series_that_is_too_long():
    values = noise(40)
    whole = processor(channels=2)(values)
    assert processor(channels=2, max_length=10)(values).length == whole.length == 10
    with pytest.raises(ValueError, match="makes 10 tokens, more than `max_length` = 9"):
        processor(channels=2, max_length=9)(values)
    same(processor(channels=2, max_length=3, overlong="first")(values), processor(channels=2)(values[:12]))
    same(processor(channels=2, max_length=3, overlong="last")(values), processor(channels=2)(values[-12:]))


@pytest.mark.parametrize("values", [[1e300, -1e300], [1e308, -1e308, 1e308]])
def test_values_that_float32_cannot_hold(values):
    with pytest.raises(ValueError, match="too large"):
        processor(channels=1, normalize="fixed")(values)


def test_pad():
    process = processor(channels=2)
    items = [process(noise(steps)) for steps in (9, 4)]
    batch = process.pad(items)
    assert batch["features"].shape == (2, 3, 20)
    assert batch["mask"].tolist() == [[True, True, True], [True, False, False]]
    assert torch.equal(batch["features"][0], items[0].tensors["features"])
    assert not batch["features"][1, 1:].any()
    assert batch["positions"].dtype == torch.int64

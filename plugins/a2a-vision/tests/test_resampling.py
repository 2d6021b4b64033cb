import numpy as np
import pytest
from PIL import Image

from a2a_vision.resampling import KERNELS, taps


def ideal(resample, source, target):
    """(target, source) in float64, by the definition: a stretched kernel over the source, cut at its ends, normalised."""
    kernel, reach = KERNELS[resample]
    scale = source / target
    stretch = max(scale, 1)
    matrix = np.zeros((target, source))
    for row in range(target):
        centre = (row + 0.5) * scale
        places = np.arange(source) + 0.5
        weights = np.where(abs(places - centre) <= reach * stretch, kernel((places - centre) / stretch), 0)
        matrix[row] = weights / weights.sum()
    return matrix


def dense(found, count, channels, source):
    matrix = np.zeros((count * channels, source * channels))
    ends = [*found.offsets[1:].tolist(), len(found.indices)]
    for row, (begin, end) in enumerate(zip(found.offsets.tolist(), ends, strict=True)):
        for index, weight in zip(found.indices[begin:end].tolist(), found.weights[begin:end].tolist(), strict=True):
            matrix[row, found.start * channels + index] += weight
    return matrix


@pytest.mark.parametrize("resample", KERNELS)
@pytest.mark.parametrize(("source", "target"), [(50, 20), (20, 50), (17, 16), (7, 7), (1, 5), (9, 1), (100, 3)])
def test_taps_are_the_kernel(resample, source, target):
    found = taps(source, target, 0, target, resample)
    assert np.abs(dense(found, target, 1, source) - ideal(resample, source, target)).max() < 1e-6


def test_a_window_takes_no_more_of_the_source_than_it_needs():
    whole = taps(1000, 500, 0, 500, Image.Resampling.BICUBIC)
    part = taps(1000, 500, 200, 10, Image.Resampling.BICUBIC)
    assert (part.start, part.stop) == (397, 423)
    assert np.array_equal(dense(part, 10, 1, 1000), dense(whole, 500, 1, 1000)[200:210])


def test_channels_come_apart():
    one = dense(taps(12, 5, 1, 3, Image.Resampling.BILINEAR), 3, 1, 12)
    three = dense(taps(12, 5, 1, 3, Image.Resampling.BILINEAR, 3), 3, 3, 12)
    for channel in range(3):
        assert np.array_equal(three[channel * 3 : channel * 3 + 3, channel::3], one)
    assert np.count_nonzero(three) == 3 * np.count_nonzero(one)

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from a2a_pointcloud.pointnet import PointNetEncoder
from a2a_pointcloud.pointnet_processor import drawn, farthest, in_sphere, nearest


def processor(**options):
    return PointNetEncoder(**{"reads": "value", **options}).processor()


def noise(points, columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(points, columns))


OPTIONS = {
    "whole": {},
    "few": {"max_points": 50},
    "groups": {"tokens": 7, "group_size": 5},
    "all": {"tokens": 7, "group_size": 5, "max_points": 40, "normalize": "none", "features": ("rgb",)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_order_of_the_points_changes_no_bit(options):
    process, random = processor(**options), np.random.default_rng(0)
    cloud = np.round(noise(90, 6 if "features" in options else 3), 1)  # coarse, so that distances are equal and points twice
    wanted = process(cloud)
    for _ in range(4):
        found = process(cloud[random.permutation(90)])
        assert found.length == wanted.length
        for name, tensor in wanted.tensors.items():
            assert torch.equal(tensor, found.tensors[name])


@pytest.mark.parametrize(
    ("points", "tokens", "size", "shape"),
    [(9, 1, 4, (1, 9, 3)), (1, 1, 4, (1, 1, 3)), (9, 4, 5, (4, 5, 3)), (3, 4, 5, (3, 3, 3)), (5000, 1, 4, (1, 1024, 3))],
)
def test_shapes(points, tokens, size, shape):
    item = processor(tokens=tokens, group_size=size)(noise(points))
    assert tuple(item.tensors["points"].shape) == shape
    assert item.length == shape[0]


def test_the_unit_sphere():
    cloud = noise(200, 5) * [3, 1, 1, 9, 9] + [5, -7, 0, 100, 0]
    found = in_sphere(cloud)
    assert found[:, :3].mean(0) == pytest.approx([0, 0, 0], abs=1e-12)
    assert np.linalg.norm(found[:, :3], axis=1).max() == pytest.approx(1)
    assert np.array_equal(found[:, 3:], cloud[:, 3:])


def test_place_and_size_of_a_cloud_do_not_matter_even_far_away():
    cloud, process = noise(300), processor(tokens=6)
    for moved in (cloud * 1000, cloud + np.array([5.2e6, -4.4e5, 120])):  # metres of a map
        for name, tensor in process(cloud).tensors.items():
            torch.testing.assert_close(tensor, process(moved).tensors[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("cloud", [[[1.0, 2.0, 3.0]], [[0.1, 0.1, 0.1]] * 7])
def test_a_cloud_without_extent_is_its_centre(cloud):
    found = processor()(cloud).tensors["points"]
    assert found.isfinite().all()
    assert found.abs().max() < 1e-12


def test_without_normalisation_points_are_as_they_are():
    cloud = noise(20)
    found = processor(normalize="none")(cloud).tensors["points"][0].numpy()
    assert found[np.lexsort(found.T)] == pytest.approx(cloud[np.lexsort(cloud.T)])


def test_drawn_points_are_spread_over_all():
    points = np.arange(30000.0).reshape(10000, 3)
    found = drawn(points, 1000)
    assert len(np.unique(found[:, 0])) == 1000
    assert set(found[:, 0]) <= set(points[:, 0])
    counts, _ = np.histogram(found[:, 0], 10, (0, 30000))
    assert counts.min() > 70
    assert np.array_equal(found, drawn(points, 1000))
    assert drawn(points, 10000) is points
    assert drawn(points, None) is points


def test_farthest_point_sampling_is_the_definition():
    places = noise(80)
    chosen = [int(np.argmax(np.linalg.norm(places - places.mean(0), axis=1)))]
    for _ in range(19):
        chosen.append(max(range(80), key=lambda place: min(np.linalg.norm(places[place] - places[each]) for each in chosen)))
    assert farthest(places, 20).tolist() == chosen


def test_farthest_point_sampling_of_twins_and_of_too_few():
    assert sorted(farthest(np.zeros((4, 3)), 3).tolist()) == [0, 1, 2]
    assert sorted(farthest(noise(5), 9).tolist()) == [0, 1, 2, 3, 4]


def test_neighbours_are_those_of_a_tree():
    places, centers = noise(100), noise(6, seed=1)
    assert np.array_equal(nearest(places, centers, 8), cKDTree(places).query(centers, 8)[1])


def test_groups_are_seen_from_their_centres():
    cloud = noise(60, 4)
    item = processor(tokens=5, group_size=6, features=("height",), normalize="none")(cloud)
    groups, centers = (item.tensors[name].double().numpy() for name in ("points", "centers"))
    assert groups[:, 0, :3] == pytest.approx(np.zeros((5, 3)))  # the centre is the nearest to itself
    for group, center in zip(groups, centers, strict=True):
        own = group + np.array([*center, 0])
        distances = np.linalg.norm(own[:, None] - cloud[None], axis=-1)
        assert distances.min(1) == pytest.approx(np.zeros(6), abs=1e-5)


def test_numbers_that_float32_cannot_hold():
    cloud = [[1e308, 1, 1], [-1e308, 0, 0]]
    with pytest.raises(ValueError, match="too large"):
        processor(normalize="none")(cloud)
    assert processor()(cloud).tensors["points"][0].tolist() == [[-1, 0, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="too large"):
        processor()([[1.7e308, 0, 0], [1.7e308, 1, 1]])


def test_pad():
    process = processor(tokens=4, group_size=3)
    items = [process(noise(points)) for points in (9, 2)]
    batch = process.pad(items)
    assert batch["points"].shape == (2, 4, 3, 3)
    assert batch["counts"].tolist() == [[3, 3, 3, 3], [2, 2, 0, 0]]
    assert torch.equal(batch["points"][1, :2, :2], items[1].tensors["points"])
    assert not batch["points"][1, 2:].any()
    assert torch.equal(batch["centers"][0], items[0].tensors["centers"])

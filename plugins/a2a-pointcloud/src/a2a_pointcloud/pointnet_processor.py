"""A cloud to groups of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2a_core import Item
from a2a_pointcloud.reading import Floats, read_cloud


class PointNetProcessor:
    """A cloud -> Item: `points` (G, S, 3 + F), each group's seen from its centre, and `centers` (G, 3)."""

    deterministic = True

    def __init__(
        self, columns: Sequence[str], files: bool, sphere: bool, max_points: int | None, tokens: int, group_size: int
    ) -> None:
        self.columns, self.files, self.sphere = tuple(columns), files, sphere
        self.max_points, self.tokens, self.group_size = max_points, tokens, group_size

    def __call__(self, raw: Any) -> Item:
        """Read, sort, normalise, draw, group; ValueError for what cannot be read."""
        return self.item(read_cloud(raw, self.columns, self.files))

    def item(self, points: Floats) -> Item:
        """The Item of points (P, 3 + F); ValueError for numbers too large for float32."""
        points = points[np.lexsort(points.T[::-1])]
        with np.errstate(over="ignore", invalid="ignore"):
            points = drawn(in_sphere(points) if self.sphere else points, self.max_points)
            groups, centers = self.grouped(points)
            groups, centers = groups.astype(np.float32), centers.astype(np.float32)
        if not (np.isfinite(groups).all() and np.isfinite(centers).all()):
            raise ValueError("the cloud has numbers that are too large for float32")
        return Item({"points": torch.from_numpy(groups), "centers": torch.from_numpy(centers)}, len(groups))

    def grouped(self, points: Floats) -> tuple[Floats, Floats]:
        """The neighbours of chosen points, seen from them, and these; or one group of all, seen from where it is."""
        if self.tokens == 1:
            return points[None], np.zeros((1, 3))
        centers = points[farthest(points[:, :3], self.tokens), :3]
        groups = points[nearest(points[:, :3], centers, self.group_size)]
        groups[:, :, :3] -= centers[:, None]
        return groups, centers

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`points` (N, G, S, 3 + F), `centers` (N, G, 3) and `counts` (N, G), how many points of a group are real."""
        groups, size = (max(item.tensors["points"].shape[axis] for item in items) for axis in (0, 1))
        points = torch.zeros(len(items), groups, size, 3 + len(self.columns))
        centers, counts = torch.zeros(len(items), groups, 3), torch.zeros(len(items), groups, dtype=torch.int64)
        for place, item in enumerate(items):
            own = item.tensors["points"]
            points[place, : own.shape[0], : own.shape[1]] = own
            centers[place, : own.shape[0]] = item.tensors["centers"]
            counts[place, : own.shape[0]] = own.shape[1]
        return {"points": points, "centers": centers, "counts": counts}

    def dummy(self) -> Item:
        """A point at the origin."""
        return self.item(np.zeros((1, 3 + len(self.columns))))


def in_sphere(points: Floats) -> Floats:
    """The cloud about its centroid, its farthest point at distance 1; a cloud that is one point stays without extent."""
    centred = points[:, :3] - points[:, :3].mean(0)
    largest = np.abs(centred).max()
    if largest > 1e-12 * np.abs(points[:, :3]).max():  # below: rounding
        centred = centred / largest  # so that no square overflows
        centred /= np.sqrt((centred**2).sum(1).max())
    return np.concatenate([centred, points[:, 3:]], 1)


def drawn(points: Floats, count: int | None) -> Floats:
    """So many of the points, in their order; the same each time, for numpy keeps the raw numbers of a generator as they are."""
    if count is None or len(points) <= count:
        return points
    keys = np.random.PCG64(0).random_raw(len(points))
    return points[np.sort(np.argsort(keys, kind="stable")[:count])]


def farthest(places: Floats, count: int) -> NDArray[np.int64]:
    """Farthest point sampling: the point that is farthest from the centroid, then each time that farthest from all before.

    Of several, the first counts. Of no more points than `count`, all are chosen.
    """
    distance = ((places - places.mean(0)) ** 2).sum(1)
    chosen = [int(distance.argmax())]
    distance = ((places - places[chosen[0]]) ** 2).sum(1)
    distance[chosen[0]] = -1  # chosen already: a twin at distance 0 comes before it
    while len(chosen) < min(count, len(places)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((places - places[chosen[-1]]) ** 2).sum(1))
        distance[chosen[-1]] = -1
    return np.array(chosen)


def nearest(places: Floats, centers: Floats, count: int) -> NDArray[np.int64]:
    """Indices (G, S) of the S = min(count, P) points that are nearest to each centre, the first of several."""
    distances = ((centers[:, None] - places[None]) ** 2).sum(-1)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]

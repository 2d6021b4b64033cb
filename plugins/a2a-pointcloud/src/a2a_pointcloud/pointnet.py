"""The `pointnet` encoder: point clouds to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from a2a_core import EncoderConfig, option

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_pointcloud.pointnet_processor import PointNetProcessor

COLUMNS = {"rgb": ("red", "green", "blue"), "normals": ("nx", "ny", "nz")}
"""What stands for several columns; any other name is one."""


class PointNetEncoder(EncoderConfig):
    """Point clouds to tokens: an MLP on each point and the largest value of each channel (PointNet, arXiv 1612.00593).

    `tokens = 1` is one token of the whole cloud. With more, so many points are chosen by farthest point sampling, and each
    becomes a token by the same network on its `group_size` nearest neighbours, seen from it; where it lies is added by an MLP,
    and `layers` transformer layers may follow (PointNet++, arXiv 1706.02413, section 3.2; Point-BERT, arXiv 2111.14819,
    section 3.1). Normalisation is by point (LayerNorm, not PointNet's BatchNorm), and there is no T-Net.

    Shapes: `points` (N, G, S, 3 + F), S points of each of G groups, and `centers` (N, G, 3), to (N, G, width). A cloud of
    fewer points than `tokens` has a token for each.

    A cloud is a list of points in the row (`reads = "value"`), each `[x, y, z, ...]` with a column for each of `features`; or
    a file: `.npy` of the shape (points, 3 + F) or of a structured type, `.ply` of text or binary, whose faces and other
    properties are left alone. `"rgb"` are the properties red, green and blue, whole numbers taken to 0..1 by the range of their
    type; `"normals"` nx, ny and nz; any other name is a property itself. In a plain array features are the columns after
    x, y, z, as they are.

    The order of the points changes nothing, not by a bit: they are sorted first. Of more than `max_points`, so many are drawn,
    the same each time. Farthest point sampling begins with the point that is farthest from the centroid.
    """

    name: ClassVar[str] = "pointnet"
    modality: ClassVar[str] = "pointcloud"

    reads: Literal["value", "file"] = option(  # an option, where other encoders settle it: both are common
        'what the row\'s field holds: the points, or ("file") the path of a file with them', default="file"
    )
    features: tuple[str, ...] = option('what points have beside x, y, z: "rgb", "normals", other properties', default=())
    normalize: Literal["sphere", "none"] = option("centre each cloud and scale it to radius 1, or leave it", default="sphere")
    max_points: int | None = option("points that are looked at; of more, so many are drawn (none: all)", default=1024, ge=1)
    hidden_sizes: tuple[int, ...] = option("channels of the MLP on each point, before the last layer", default=(64, 128), ge=1)
    width: int = option("channels of a token", default=256, ge=1)
    tokens: int = option("tokens of a cloud: 1, or the groups that it is divided into", default=1, ge=1)
    group_size: int = option("points of a group, with `tokens` > 1", default=32, ge=1)
    layers: int = option("transformer layers over the groups, with `tokens` > 1", default=0, ge=0)
    num_heads: int = option("attention heads of a layer; divides `width`", default=4, ge=1)
    dropout: float = option("dropout rate of the transformer layers", default=0.1, ge=0, lt=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns after x, y and z."""
        return tuple(column for name in self.features for column in COLUMNS.get(name, (name,)))

    def check(self) -> None:
        """ValueError for options that contradict one another."""
        names = ("x", "y", "z", *self.columns)
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"`features` = {list(self.features)} must be names, each column once, and none of x, y, z")
        if self.layers and self.tokens == 1:
            raise ValueError("`layers` need several `tokens` to look at")
        if self.layers and self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be a multiple of `num_heads` = {self.num_heads}")
        if self.max_points is not None and self.max_points < self.tokens:
            raise ValueError(f"`max_points` = {self.max_points} must be no less than `tokens` = {self.tokens}")

    def processor(self) -> PointNetProcessor:
        """Clouds to `points` and `centers`."""
        from a2a_pointcloud.pointnet_processor import PointNetProcessor

        return PointNetProcessor(
            self.columns, self.reads == "file", self.normalize == "sphere", self.max_points, self.tokens, self.group_size
        )

    def build(self) -> nn.Module:
        """The module with random weights."""
        from a2a_pointcloud.pointnet_model import PointNetModel

        return PointNetModel(
            inputs=3 + len(self.columns),
            hidden_sizes=self.hidden_sizes,
            width=self.width,
            grouped=self.tokens > 1,
            layers=self.layers,
            num_heads=self.num_heads,
            dropout=self.dropout,
        )

    def examples(self, folder: Path) -> Sequence[Any]:
        """Clouds of several sizes; files where it reads files."""
        from a2a_pointcloud.examples import example_files, example_values

        return example_values(self.columns) if self.reads == "value" else example_files(self.columns, folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Five tokens of four points with normals, and one layer."""
        return cls(features=("normals",), hidden_sizes=(8,), width=12, tokens=5, group_size=4, layers=1, num_heads=2)

"""A cloud, whatever its form, to an array of points. ValueError says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from a2a_pointcloud.ply import read_vertices
from a2a_pointcloud.pointnet import COLUMNS

Floats: TypeAlias = NDArray[np.float64]


def read_cloud(raw: Any, columns: Sequence[str], files: bool) -> Floats:
    """Points (P, 3 + columns), finite, P >= 1; see PointNetEncoder for the forms of a cloud."""
    if isinstance(raw, (str, Path)) != files:
        other, kind = ("value", "a path") if files else ("file", "a list of points")
        raise ValueError(f'a cloud is {kind} here, not {type(raw).__name__}: set `reads = "{other}"` if it is meant')
    found = read_file(Path(raw)) if files else array(raw)
    points = named(found, columns) if found.dtype.names else plain(found, columns)
    if not points.size:
        raise ValueError("the cloud has no points")
    if not np.isfinite(points).all():
        raise ValueError("the cloud has points that are NaN or infinite")
    return points


def array(raw: Any) -> NDArray[Any]:
    """An array of a row's list."""
    try:
        return np.asarray(raw, None if isinstance(raw, np.ndarray) else np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the cloud is no list of points: {error}") from None


def plain(found: NDArray[Any], columns: Sequence[str]) -> Floats:
    """Of an array of numbers."""
    if found.dtype.kind not in "iuf":
        raise ValueError(f"the cloud holds {found.dtype}, not numbers")
    wanted = 3 + len(columns)
    if found.size and (found.ndim != 2 or found.shape[1] != wanted):
        names = ", ".join(("x", "y", "z", *columns))
        raise ValueError(f"the cloud has the shape {found.shape}; it must be (points, {wanted}): {names}")
    return found.astype(np.float64)


def named(found: NDArray[np.void], columns: Sequence[str]) -> Floats:
    """Of records with fields."""
    fields, wanted = found.dtype.names or (), ("x", "y", "z", *columns)
    if missing := [name for name in wanted if name not in fields]:
        raise ValueError(f"the points have no `{missing[0]}`, but {', '.join(fields)}")
    if found.ndim != 1 or any(found.dtype[name].kind not in "iuf" for name in wanted):
        raise ValueError("the points must be a list of records of numbers")
    points = np.stack([found[name] for name in wanted], 1).astype(np.float64)
    for place, name in enumerate(wanted):
        if name in COLUMNS["rgb"] and found.dtype[name].kind in "iu":
            points[:, place] /= np.iinfo(found.dtype[name]).max
    return points


def read_file(path: Path) -> NDArray[Any]:
    """The array of a `.npy`, or the vertices of a `.ply`."""
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix == ".ply":
        return read_vertices(path.read_bytes())
    if suffix != ".npy":
        raise ValueError(f"a cloud is a .ply or .npy file, not {suffix or 'one without a suffix'}")
    try:
        return open_memmap(path, mode="r")
    # a header is Python text, whatever the file's bytes are
    except (ValueError, OSError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this .npy file cannot be read, or is cut off: {error}") from None

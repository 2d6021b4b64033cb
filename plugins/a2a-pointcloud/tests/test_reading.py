import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_pointcloud.reading import read_cloud

CLOUD = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
RGB = ("red", "green", "blue")


def test_values():
    for raw in (CLOUD, np.array(CLOUD), np.array(CLOUD, np.float32), np.array(CLOUD, np.int16), tuple(map(tuple, CLOUD))):
        found = read_cloud(raw, (), files=False)
        assert found.dtype == np.float64
        assert found.tolist() == CLOUD


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.array(CLOUD, ">f4"))
    assert read_cloud(tmp_path / "a.npy", (), files=True).tolist() == CLOUD
    assert read_cloud(str(tmp_path / "a.npy"), (), files=True).tolist() == CLOUD


def test_colours_are_scaled_by_their_type(tmp_path):
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u2"), ("blue", "f4"), ("label", "u1")]
    np.save(tmp_path / "a.npy", np.array([(0, 1, 2, 255, 65535, 0.5, 7)], fields))
    assert read_cloud(tmp_path / "a.npy", RGB, files=True).tolist() == [[0, 1, 2, 1, 1, 0.5]]
    assert read_cloud(tmp_path / "a.npy", ("label",), files=True).tolist() == [[0, 1, 2, 7]]
    assert read_cloud([[0, 1, 2, 255, 0, 0]], RGB, files=False).tolist() == [[0, 1, 2, 255, 0, 0]]


def test_ply(tmp_path):
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty uchar red\nproperty float x\nproperty double y\n"
    head += (
        "property float z\nproperty uchar green\nproperty uchar blue\nelement face 1\nproperty list uchar int i\nend_header\n"
    )
    data = b"".join(struct.pack("<Bfdf2B", 51, *point, 0, 255) for point in CLOUD)
    (tmp_path / "a.PLY").write_bytes(head.encode() + data + b"\x01\0\0\0\0")
    assert read_cloud(tmp_path / "a.PLY", (), files=True).tolist() == CLOUD
    assert read_cloud(tmp_path / "a.PLY", RGB, files=True)[:, 3:].tolist() == [[0.2, 0, 1]] * 2
    with pytest.raises(ValueError, match="the points have no `nx`, but red, x, y, z, green, blue"):
        read_cloud(tmp_path / "a.PLY", ("nx", "ny", "nz"), files=True)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "no points"),
        ([[]], "no points"),
        (5, "the shape"),
        ([1, 2, 3], r"the shape \(3,\); it must be \(points, 3\): x, y, z"),
        ([[1, 2]], r"the shape \(1, 2\)"),
        ([[1, 2, 3, 4]], r"the shape \(1, 4\)"),
        ([[1, 2, 3], [4, 5]], "no list of points"),
        ([[1, 2, None]], "NaN or infinite"),
        ([[1, 2, float("nan")]], "NaN or infinite"),
        ([[1, 2, float("-inf")]], "NaN or infinite"),
        ([[1, 2, "a"]], "no list of points"),
        ({"x": [1]}, "no list of points"),
        ([[1, 2, 10**400]], "no list of points"),
        (np.array([["a", "b", "c"]]), "not numbers"),
        (np.array((1, 2, 3), [("x", "f4"), ("y", "f4"), ("z", "f4")]), "a list of records"),
        (np.array([(1, 2, "a")], [("x", "f4"), ("y", "f4"), ("z", "U1")]), "a list of records"),
        ("cloud.ply", 'set `reads = "file"`'),
    ],
    ids=repr,
)
def test_what_is_no_cloud(raw, message):
    with pytest.raises(ValueError, match=message):
        read_cloud(raw, (), files=False)


def test_files_that_cannot_be_read(tmp_path):
    np.save(tmp_path / "whole.npy", np.zeros((50, 3)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
    np.save(tmp_path / "object.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    np.save(tmp_path / "wide.npy", np.zeros((4, 7)))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    (tmp_path / "empty.ply").write_bytes(b"")
    none = "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (tmp_path / "none.ply").write_text(none)
    (tmp_path / "nan.ply").write_text(none.replace("vertex 0", "vertex 1") + "1 nan 2\n")
    (tmp_path / "a.obj").write_text("v 1 2 3\n")
    for name, message in {
        "cut.npy": "cannot be read, or is cut off",
        "object.npy": "cannot be read",
        "wide.npy": r"the shape \(4, 7\)",
        "none.npy": "no points",
        "empty.ply": "no .ply file",
        "none.ply": "no points",
        "nan.ply": "NaN or infinite",
        "a.obj": "a .ply or .npy file, not .obj",
        "nowhere.ply": "there is no file",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_cloud(tmp_path / name, (), files=True)
    with pytest.raises(ValueError, match='set `reads = "value"`'):
        read_cloud(CLOUD, (), files=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 220), st.booleans())
def test_any_npy_is_a_cloud_or_a_value_error(tmp_path, noise, place, damage):
    np.save(tmp_path / "good.npy", np.ones((4, 3)))
    good = (tmp_path / "good.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(good[:place] + noise[:4] + good[place + 4 :] if damage else noise)
    try:
        found = read_cloud(tmp_path / "a.npy", (), files=True)
    except ValueError:
        return
    assert found.shape[1] == 3
    assert np.isfinite(found).all()

"""Files of vectors: what is written is read, here and by others' readers."""

import json
import re

import numpy as np
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from a2a_core.errors import A2AError
from a2a_retrieval.exact import top
from a2a_retrieval.fingerprint import Origin
from a2a_retrieval.vectors import open_vectors
from a2a_retrieval.vectors_writing import writing

ORIGIN = Origin("0" * 32, "mine", "embedding", "positive", 5, True)
IDS = ["a", "ü", "", "longer than the others"]


def written(path, vectors, dtype="float32", lengths=None, ids=IDS):
    with writing(path, ORIGIN._replace(dtype=dtype, multi_vector=lengths is not None)) as writer:
        first = 3 if lengths is None else int(lengths[:3].sum())
        writer.add(ids[:3], vectors[:first], None if lengths is None else lengths[:3])
        writer.add([], vectors[:0])
        writer.add(ids[3:], vectors[first:], None if lengths is None else lengths[3:])
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("suffix", ["safetensors", "npy", "parquet"])
def test_what_is_written_is_read_whatever_stretch(suffix, dtype, tmp_path):
    vectors = torch.randn(4, 5)
    vectors[2] = 0
    found = open_vectors(written(tmp_path / f"v.{suffix}", vectors, dtype))
    assert (found.ids, found.shape, len(found), found.origin) == (IDS, (4, 5), 4, ORIGIN._replace(dtype=dtype))
    half = {"float32": 0, "float16": 2**-11 * 4, "int8": float(vectors.abs().max()) / 127 / 2 + 1e-6}[dtype]
    for start, stop in ((0, 4), (1, 3), (2, 4), (3, 3)):
        torch.testing.assert_close(found[start:stop], vectors[start:stop], atol=half, rtol=0)
    assert top(torch.eye(5)[:2], found, 2).places.shape == (2, 2)


def test_each_vector_of_int8_has_a_scale_of_its_own(tmp_path):
    """So that a short one beside a long one keeps its direction."""
    vectors = torch.randn(4, 5) * torch.tensor([1e-4, 1.0, 1e3, 1e-2])[:, None]
    for suffix in ("safetensors", "npy", "parquet"):
        found = open_vectors(written(tmp_path / f"v.{suffix}", vectors, "int8"))[0:4]
        assert bool(((found - vectors).abs() <= vectors.abs().amax(1, keepdim=True) / 254 * 1.001).all())


def test_a_vector_a_token(tmp_path):
    vectors, lengths = torch.randn(9, 5), torch.tensor([1, 4, 2, 2])
    found = open_vectors(written(tmp_path / "v.safetensors", vectors, "float32", lengths))
    assert found.lengths.tolist() == [1, 4, 2, 2]
    assert torch.equal(found[2:7], vectors[2:7])
    with pytest.raises(A2AError, match="write a .safetensors file"):
        written(tmp_path / "v.npy", vectors, "float32", lengths)


def test_others_read_them(tmp_path):
    vectors = torch.randn(4, 5)
    tensors = load_file(written(tmp_path / "v.safetensors", vectors, "int8"))
    assert {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()} == {
        "vectors": (torch.int8, (4, 5)),
        "scales": (torch.float32, (4,)),
        "ids": (torch.uint8, (sum(len(each.encode()) for each in IDS),)),
        "id_offsets": (torch.int64, (5,)),
    }
    assert tensors["vectors"].abs().amax(1).tolist() == [127] * 4
    assert np.array_equal(np.load(written(tmp_path / "v.npy", vectors)), vectors.numpy())
    assert json.loads((tmp_path / "v.npy.json").read_text())["ids"] == IDS
    table = parquet.read_table(written(tmp_path / "v.parquet", vectors))
    assert table.column("id").to_pylist() == IDS
    assert np.array_equal(np.array(table.column("vector").to_pylist(), np.float32), vectors.numpy())


@pytest.mark.parametrize("suffix", ["safetensors", "npy", "parquet"])
def test_what_fails_leaves_nothing(suffix, tmp_path):
    path = tmp_path / f"v.{suffix}"

    def interrupted():
        with writing(path, ORIGIN) as writer:
            writer.add(IDS, torch.randn(4, 5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float32", float("nan"), "the vector of row `ü` is not a number"),
        ("int8", float("inf"), "the vector of row `ü` is not a number"),
        ("float16", 1e6, "the vector of row `ü` does not fit into float16"),
    ],
)
def test_vectors_that_cannot_be_kept_are_refused(dtype, value, message, tmp_path):
    vectors = torch.randn(4, 5)
    vectors[1, 3] = value
    with pytest.raises(A2AError, match=message):
        written(tmp_path / "v.npy", vectors, dtype)
    flat, lengths = torch.randn(9, 5), torch.tensor([1, 4, 2, 2])
    flat[4, 0] = value
    with pytest.raises(A2AError, match=message):
        written(tmp_path / "v.safetensors", flat, dtype, lengths)


def test_what_is_no_file_of_vectors_is_said(tmp_path):
    for name in ("text.npy", "text.safetensors", "text.parquet"):
        (tmp_path / name).write_text("no vectors")
        with pytest.raises(A2AError, match=f"{name} is no file of vectors"):
            open_vectors(tmp_path / name)
    np.save(tmp_path / "bare.npy", np.zeros((2, 5), np.float32))
    with pytest.raises(A2AError, match=re.escape("there is no bare.npy.json beside it")):
        open_vectors(tmp_path / "bare.npy")
    save_file({"vectors": torch.zeros(2, 5)}, tmp_path / "bare.safetensors")
    with pytest.raises(A2AError, match="does not say of which model its vectors are"):
        open_vectors(tmp_path / "bare.safetensors")
    for name in ("vectors.txt", "gone.npy"):
        (tmp_path / "vectors.txt").write_text("")
        with pytest.raises(A2AError, match="no file"):
            open_vectors(tmp_path / name)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    path = written(tmp_path / "v.npy", torch.randn(4, 5))
    np.save(path, np.zeros((3, 5), np.float32))
    with pytest.raises(A2AError, match="4 ids for vectors of 3 rows"):
        open_vectors(path)
    np.save(path, np.zeros((4, 6), np.float32))
    with pytest.raises(A2AError, match="says that its vectors have 5 numbers"):
        open_vectors(path)

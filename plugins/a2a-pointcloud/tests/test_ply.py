import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_pointcloud.ply import TYPES, read_vertices

CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
FORMATS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


def number(kind):
    if kind[0] == "f":
        return st.floats(-1e6, 1e6, width=32)
    bits = int(kind[1]) * 8
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind[0] == "i" else st.integers(0, 2**bits - 1)


@st.composite
def elements(draw, name, lists):
    """(name, [(property, type, type of its length or "")], records), each record a list of numbers or of lists."""
    kinds = st.sampled_from(sorted(TYPES))
    properties = []
    for index in range(draw(st.integers(1, 4))):
        count = draw(st.sampled_from(["", "uchar", "int", "ushort"])) if lists else ""
        properties.append((f"{name}{index}", draw(kinds), count))
    records = []
    for _ in range(draw(st.integers(0, 4))):
        record = [
            draw(st.lists(number(TYPES[kind]), max_size=3)) if count else draw(number(TYPES[kind]))
            for _, kind, count in properties
        ]
        records.append(record)
    return name, properties, records


def written(parts, form, newline="\n"):
    """An independent writer, by struct."""
    lines = ["ply", f"format {form} 1.0", "comment end_header is not here", "obj_info nothing"]
    for name, properties, records in parts:
        lines.append(f"element {name} {len(records)}")
        lines += [
            f"property list {count} {kind} {label}" if count else f"property {kind} {label}"
            for label, kind, count in properties
        ]
    data = (newline.join([*lines, "end_header"]) + newline).encode()
    for _, properties, records in parts:
        for record in records:
            if FORMATS[form] is None:
                words = [
                    f"{len(value)} {' '.join(map(repr, value))}".strip() if count else repr(value)
                    for (_, _, count), value in zip(properties, record, strict=True)
                ]
                data += (" ".join(words) + newline).encode()
            else:
                for (_, kind, count), value in zip(properties, record, strict=True):
                    if count:
                        data += struct.pack(FORMATS[form] + CODES[TYPES[count]], len(value))
                    values = value if count else [value]
                    data += struct.pack(FORMATS[form] + CODES[TYPES[kind]] * len(values), *values)
    return data


files = st.tuples(elements("camera", True), elements("vertex", False), elements("face", True), st.permutations([0, 1, 2]))


@settings(max_examples=150, deadline=None)
@given(files, st.sampled_from(sorted(FORMATS)), st.sampled_from(["\n", "\r\n"]))
def test_any_file_gives_its_vertices(file, form, newline):
    *parts, order = file
    found = read_vertices(written([parts[place] for place in order], form, newline))
    _, properties, records = parts[1]
    assert found.dtype.names == tuple(label for label, _, _ in properties)
    assert [list(record) for record in found.tolist()] == records
    assert [found.dtype[label].str[1:] for label, _, _ in properties] == [TYPES[kind] for _, kind, _ in properties]


@settings(max_examples=100, deadline=None)
@given(files, st.sampled_from(sorted(FORMATS)), st.floats(0, 1), st.binary(max_size=3))
def test_a_damaged_file_is_a_value_error_or_some_vertices(file, form, where, noise):
    data = written(file[:3], form)
    place = int(where * len(data))
    for damaged in (data[:place], data[:place] + noise + data[place + len(noise) :]):
        try:
            found = read_vertices(damaged)
        except ValueError:
            continue
        assert found.dtype.names


POINTS = [("x", "float", ""), ("y", "float", ""), ("z", "float", "")]
TRIANGLE = [
    ("vertex", POINTS, [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]),
    ("face", [("vertex_indices", "int", "uchar")], [[[0, 1, 2]]]),
]


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_cut_within_the_vertices_is_found(form):
    data = written(TRIANGLE, form)
    whole = read_vertices(data)
    ends = len(written(TRIANGLE[:1], form)) + len("element face 1\nproperty list uchar int vertex_indices\n")
    if form == "ascii":
        ends = len(data) - 1 - len("3 0 1 2")  # a line for each element must be there, faces too
    assert whole.tolist() == [(0, 0, 0), (1, 0, 0), (0, 1, 0.5)]
    for length in range(ends):
        with pytest.raises(ValueError, match="cut off|no .ply"):
            read_vertices(data[:length])


def test_a_text_file_that_lacks_a_vertex_does_not_read_a_face():
    data = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nproperty float s\n"
    data += b"element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0 1\n1 0 0 1\n3 0 1 2\n"
    with pytest.raises(ValueError, match="cut off: it has 3 lines of 4"):
        read_vertices(data)


HEAD = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no .ply file"),
        ("solid cube\n", "no .ply file"),
        (HEAD, "no .ply file, or it is cut off in its header"),
        (HEAD + "end_header\nabc\n", "must be lines of 1 numbers"),
        (HEAD + "end_header\n1 2\n", "must be lines of 1 numbers"),
        (HEAD.replace("ascii", "binary") + "end_header\n", "not understood: 'format binary 1.0'"),
        (HEAD.replace("1.0", "2.0") + "end_header\n", "not understood"),
        (HEAD.replace("float", "complex") + "end_header\n", "not understood: 'property complex x'"),
        (HEAD.replace("vertex 1", "vertex -1") + "end_header\n", "not understood: 'element vertex -1'"),
        (HEAD.replace("format ascii 1.0\n", "") + "end_header\n1\n", "names no format"),
        (HEAD + "property float x\nend_header\n1 2\n", "more than once"),
        (HEAD + "property list uchar int x\nend_header\n1 0\n", "have lists"),
        (HEAD.replace("vertex", "point") + "end_header\n1\n", "no element `vertex`, but point"),
        ("ply\nformat ascii 1.0\nend_header\n", "no element `vertex`, but none"),
    ],
)
def test_what_is_no_ply(text, message):
    with pytest.raises(ValueError, match=message):
        read_vertices(text.encode())


@pytest.mark.parametrize("count", ["99999999999999", "9" * 5000])
def test_a_count_that_cannot_be(count):
    for form in ("binary_little_endian", "ascii"):
        with pytest.raises(ValueError):  # noqa: PT011 - the second is Python's own limit
            read_vertices(HEAD.replace("ascii", form).replace("vertex 1", f"vertex {count}").encode() + b"end_header\n1\n")


def test_a_negative_length_of_a_list():
    data = b"ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list char int i\nelement vertex 1\nproperty uchar x\nend_header\n\xff\x01"
    with pytest.raises(ValueError, match="negative length"):
        read_vertices(data)


def test_old_macintosh_lines():
    assert read_vertices(written(TRIANGLE, "ascii", "\r")).shape == (3,)
    assert np.array_equal(read_vertices(written(TRIANGLE, "binary_big_endian", "\r"))["z"], [0, 0, 0.5])

import csv
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_timeseries.reading import Layout, read_series

NAMES = ("x", "y")
VALUES = Layout(2, NAMES, 10.0, "time", 1.0, files=False)
FILES = VALUES._replace(files=True)
X, Y = [1.0, 2.0, 3.0], [-1.0, None, -3.0]
TIMES = [5.0, 5.5, 7.0]


def measured(raw, layout=VALUES):
    """{channel: [(second, value), …]} of a whole recording."""
    recording = read_series(raw, layout)
    found = recording.between(0, recording.duration)
    points = zip(found.channels.tolist(), found.seconds.tolist(), found.values.tolist(), strict=True)
    together = {0: [], 1: []}
    for channel, second, value in points:
        together[channel].append((pytest.approx(second), value))
    return together


REGULAR = {0: [(0, 1.0), (0.1, 2.0), (0.2, 3.0)], 1: [(0, -1.0), (0.2, -3.0)]}
TIMED = {0: [(0, 1.0), (0.5, 2.0), (2, 3.0)], 1: [(0, -1.0), (2, -3.0)]}
MATRIX = [[1, -1], [2, None], [3, -3]]


@pytest.mark.parametrize(
    "raw",
    [
        MATRIX,
        np.array(MATRIX, float),
        {"values": MATRIX},
        {"x": X, "y": Y},
        {"x": X, "y": Y, "other": "text"},
        {"values": {"y": Y, "x": X}},
        {"x": np.array([1, 2, 3], np.int8), "y": [-1.0, float("nan"), -3]},
    ],
    ids=repr,
)
def test_forms_without_timestamps(raw):
    assert measured(raw) == REGULAR


@pytest.mark.parametrize(
    "raw",
    [
        {"time": TIMES, "values": MATRIX},
        {"time": TIMES, "x": X, "y": Y},
        {"time": TIMES, "values": {"x": X, "y": Y}},
        {"time": np.array(TIMES, np.float32), "x": X, "y": Y},
        {"x": {"time": TIMES, "values": X}, "y": {"time": [5, 7], "values": [-1, -3]}},
        {"time": [7.0, 5.0, 5.5], "x": [3, 1, 2], "y": [-3, -1, None]},
        {"time": ["2024-03-01 12:00:05", "2024-03-01T12:00:05.5", "2024-03-01T13:00:07+01:00"], "x": X, "y": Y},
        {"time": np.array(["2024-01-01 00:00:05", "2024-01-01 00:00:05.5", "2024-01-01 00:00:07"]), "x": X, "y": Y},
        {"time": np.array(["2024-01-01T00:00:05.0", "2024-01-01T00:00:05.5", "2024-01-01T00:00:07"], "M8[ms]"), "x": X, "y": Y},
    ],
    ids=repr,
)
def test_forms_with_timestamps(raw):
    assert measured(raw) == TIMED


def test_large_whole_timestamps_lose_nothing():
    start = 1_700_000_000_123_456_789
    raw = {"time": [start, start + 1_000, start + 3_000], "x": X, "y": Y}
    found = read_series(raw, VALUES._replace(time_unit=1e-9))
    assert found.tracks[0].times.tolist() == pytest.approx([0, 1e-6, 3e-6], rel=1e-12)


def test_a_channel_without_a_value():
    assert measured({"x": X, "y": None}) == {**REGULAR, 1: []}
    assert measured({"x": X, "y": [None] * 3}) == {**REGULAR, 1: []}


def test_one_channel_needs_no_name():
    layout = VALUES._replace(channels=1, names=None)
    for raw in (X, [[each] for each in X], {"any": X}, {"values": X}):
        assert measured(raw, layout)[0] == REGULAR[0]


def test_the_key_of_the_timestamps_is_an_option():
    layout = VALUES._replace(time="t", names=("time", "y"))
    assert measured({"t": TIMES, "time": X, "y": Y}, layout) == TIMED


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "the series is empty"),
        (5, r"the shape \(\)"),
        ([1, 2], "1 values a step; `channels` asks for 2"),
        ([[1, 2, 3]], "3 values a step; `channels` asks for 2"),
        ([[[1, 2]]], "the shape"),
        ([[1, 2], [3]], "no list of numbers"),
        ([[1, "a"]], "no list of numbers"),
        ([[None, None]], "no value"),
        ([[1, float("inf")]], "infinite"),
        ("file.csv", 'set `reads = "file"`'),
        ({}, "no column `x`, but none"),
        ({"x": X}, "no column `y`, but x"),
        ({"x": X, "y": Y[:2]}, r"different lengths: \[2, 3\]"),
        ({"time": [], "x": X, "y": Y}, "0 timestamps for 3 steps"),
        ({"x": X, "y": 3}, "channel `y` must be a list"),
        ({"x": X, "y": [[1, 2]]}, "channel `y` must be a list"),
        ({"x": X, "y": "abc"}, "channel `y`"),
        ({"x": {"time": TIMES}, "y": None}, "channel `x` as a table needs `time` and `values`"),
        ({"x": {"time": TIMES, "values": X}, "y": Y}, "some channels have timestamps"),
        ({"x": {"time": TIMES, "values": X}, "y": {"time": ["2024-01-01"], "values": [1]}}, "some timestamps are dates"),
        ({"time": TIMES[:2], "x": X, "y": Y}, "2 timestamps for 3 steps"),
        ({"time": 5, "x": X, "y": Y}, "timestamps are a list, not int"),
        ({"time": [1, None, 2], "x": X, "y": Y}, "none missing"),
        ({"time": [1, float("nan"), 2], "x": X, "y": Y}, "missing or infinite"),
        ({"time": ["soon", "now", "late"], "x": X, "y": Y}, "'soon' is no timestamp"),
        ({"time": [0, 1, 1e300], "x": X, "y": Y}, "too far apart"),
        ({"time": [-(2**63), 0, 2**63 - 1], "x": X, "y": Y}, "too far apart"),
        ({"time": [0, 1, 9**30], "x": X, "y": Y}, "must be a list of numbers"),
    ],
    ids=repr,
)
def test_what_is_no_series(raw, message):
    with pytest.raises(ValueError, match=message):
        measured(raw)


@pytest.mark.parametrize("layout", [VALUES._replace(names=None), VALUES._replace(channels=1, names=None)], ids=["two", "one"])
def test_columns_that_nobody_named(layout):
    with pytest.raises(ValueError, match=r"has columns with names \(x, y\): name those in `channels`"):
        measured({"x": X, "y": Y}, layout)


CSV = "{time},x,note,y\n{rows}"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tmp_path, separator):
    path = tmp_path / "a.csv"
    rows = [["time", " x", "note", "y"], *([t, x, "a, b", "" if y is None else y] for t, x, y in zip(TIMES, X, Y, strict=True))]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    assert measured(path, FILES) == TIMED
    assert measured(str(path), FILES) == TIMED


def test_csv_without_names(tmp_path):
    (tmp_path / "a.CSV").write_text("1,-1\n2,NA\n\n3,-3\n")
    assert measured(tmp_path / "a.CSV", FILES) == REGULAR


def test_csv_with_dates(tmp_path):
    start = datetime(2024, 2, 28, 23, 59, 59, tzinfo=UTC)
    lines = [
        f"{(start + timedelta(seconds=t)).isoformat()},{x},{'nan' if y is None else y}"
        for t, x, y in zip(TIMES, X, Y, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["time,x,y", *lines]))
    assert measured(tmp_path / "a.csv", FILES) == TIMED


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f4", "<f8"])
def test_npy(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array(MATRIX, float).astype(dtype))
    assert measured(tmp_path / "a.npy", FILES) == REGULAR


def test_npy_of_a_structured_type(tmp_path):
    array = np.array([(5, 1, -1), (5.5, 2, np.nan), (7, 3, -3)], [("time", "f8"), ("x", "f4"), ("y", ">f2")])
    np.save(tmp_path / "a.npy", array)
    assert measured(tmp_path / "a.npy", FILES) == TIMED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("time,x,y\n", "a line of names, and no values"),
        ("time,x,y\n1,2\n", "row 2 has 2 cells, the first 3"),
        ("time,x,x\n1,2,3\n", "two columns have the same name"),
        ("time,x,z\n1,2,3\n", "no column `y`"),
        ("time,x,y\n1,2,soon\n", "channel `y` is no list of numbers: could not convert string to float: 'soon'"),
        ("time,x,y\n,2,3\n", "'' is no timestamp"),
        ('time,x,y\n1,2,"3\n', "cannot be read"),
    ],
)
def test_csv_that_is_broken(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        measured(tmp_path / "a.csv", FILES)


def test_files_that_cannot_be_read(tmp_path):
    np.save(tmp_path / "whole.npy", np.zeros((50, 2)))
    data = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(data[:-8])
    (tmp_path / "head.npy").write_bytes(data[:40])
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "object.npy", np.array([{"a": 1}, None]), allow_pickle=True)
    np.save(tmp_path / "none.npy", np.zeros((0, 2)))
    (tmp_path / "a.txt").write_text("1,2\n")
    (tmp_path / "latin.csv").write_bytes(b"x,y\n\xff,2\n")
    for name, message in {
        "cut.npy": "cannot be read, or is cut off",
        "head.npy": "cannot be read, or is cut off",
        "text.npy": "not numbers",
        "object.npy": "cannot be read",
        "none.npy": "empty",
        "a.txt": "a .csv or .npy file, not .txt",
        "latin.csv": "cannot be read",
        "nowhere.csv": "there is no file",
    }.items():
        with pytest.raises(ValueError, match=message):
            measured(tmp_path / name, FILES)
    with pytest.raises(ValueError, match='set `reads = "value"`'):
        measured([[1, 2]], FILES)


cells = st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.none())


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1e6), cells, cells), min_size=1, max_size=12))
def test_a_csv_is_the_same_as_its_values(tmp_path, rows):
    times, x, y = (list(each) for each in zip(*rows, strict=True))
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["time", "x", "y"], *rows])

    def outcome(raw, layout):
        try:
            return measured(raw, layout)
        except ValueError as error:
            return str(error)

    assert outcome(tmp_path / "a.csv", FILES) == outcome({"time": times, "x": x, "y": y}, VALUES)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([".csv", ".npy"]), st.integers(0, 180), st.booleans())
def test_any_bytes_are_a_series_or_a_value_error(tmp_path, noise, suffix, place, damage):
    path = tmp_path / f"a{suffix}"
    if damage:  # a good file with some bytes replaced
        np.save(tmp_path / "good.npy", np.ones((4, 2)))
        good = (tmp_path / "good.npy").read_bytes() if suffix == ".npy" else b"time,x,y\n0,1,2\n1,3,4\n2,5,6\n"
        noise = good[:place] + noise[:4] + good[place + 4 :]
    path.write_bytes(noise)
    try:
        found = measured(path, FILES)
    except ValueError:
        return
    assert any(found.values())

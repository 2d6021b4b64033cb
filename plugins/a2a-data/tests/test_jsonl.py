import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_data.jsonl import JsonlSource

ROWS = [
    {"id": "a", "label": 1, "boxes": [{"x": 1, "tags": []}]},
    {"label": "one", "boxes": "none"},
    {"id": 7, "label": [1, "two", None, {"deep": {"er": [[], {}]}}], "big": 2**80, "small": -(10**30)},
    {"id": "ü🙂\u2028", "label": None, "text": "line\nbreak\u0085\u2028 \ud83d"},
    {"label": 1.5, "nan": 1e300, "": True},
]


def written(path, rows=ROWS, end="\n"):
    path.write_bytes(end.join(json.dumps(row) for row in rows).encode())
    return path


def opened(path, **options):
    return JsonlSource(path=path, **options).build()


def failure(path, **options):
    with pytest.raises(A2AError) as caught:
        opened(path, **options)
    return str(caught.value)


def test_every_row_is_what_was_written(tmp_path):
    rows = opened(written(tmp_path / "a.jsonl"))
    assert [dict(row.fields) for row in rows] == ROWS
    assert [row.id for row in rows] == ["a", "1", "7", "ü🙂\u2028", "4"]
    assert {row.root for row in rows} == {tmp_path}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["id", "label", "x"]) | st.text(max_size=3), json_values, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(objects, st.integers(0, 2), st.booleans()), min_size=1, max_size=5),
    end=st.sampled_from([b"\n", b"\r\n"]),
    start=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    last=st.booleans(),
)
def test_any_objects_come_back_exactly_with_their_lines(tmp_path, rows, end, start, last):
    text, places, line = start, [], 0
    for fields, blank, ascii_only in rows:
        text += (b"", b" \t", b"")[blank] * (blank > 0) + end * blank
        line += blank + 1
        places.append(f"a.jsonl:{line}")
        text += json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") + end
    path = tmp_path / "a.jsonl"
    path.write_bytes(text if last else text.removesuffix(end))
    found = opened(path, id="")
    assert [row.fields for row in found] == [fields for fields, _, _ in rows]
    assert [row.place for row in found] == places


def test_not_a_number_is_read_for_the_head_to_refuse(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"value": NaN}\n{"value": -Infinity}\n')
    assert [repr(value) for value in opened(path).column("value")] == ["nan", "-inf"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"a": 1', "bad.jsonl:3:8 is not JSON: Expecting ',' delimiter"),
        (b"{'a': 1}", "bad.jsonl:3:2 is not JSON"),
        (b"[1, 2]", "bad.jsonl:3:1 is no JSON object but list"),
        (b"null", "bad.jsonl:3:1 is no JSON object but NoneType"),
        (b'{"a": "\xff"}', "bad.jsonl:3:8 is not UTF-8"),
        (b'{"a": 1} {"a": 2}', "bad.jsonl:3:10 is not JSON: Extra data"),
        (b'{"a": ' + b"[" * 100_000, "bad.jsonl:3:1 cannot be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "bad.jsonl:3:1 cannot be read"),
    ],
    ids=["truncated", "quotes", "list", "null", "latin-1", "two", "deep", "digits"],
)
def test_a_line_that_is_no_object_is_named(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line)
    assert message in failure(path)


def test_several_bad_lines_are_reported_together(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a": 1}\nx\n{"a": 2}\ny\n')
    message = failure(path)
    assert "bad.jsonl:2:1" in message
    assert "bad.jsonl:4:1" in message
    path.write_text("x\n" * 1000)
    assert failure(path).count("error:") == 5


@pytest.mark.parametrize("content", [b"", b"\n \n\r\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_an_error(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    assert "empty.jsonl has no rows" in failure(path)


def test_a_missing_file_is_an_error(tmp_path):
    written(tmp_path / "train.jsonl")
    assert "did you mean `train.jsonl`?" in failure(tmp_path / "trian.jsonl")


def test_shards_keep_their_folders_and_line_numbers(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "a.jsonl", [{"image": "1.png"}, {"image": "2.png"}])
    rows = opened(tmp_path / "*" / "a.jsonl")
    assert [row.place for row in rows] == ["x/a.jsonl:1", "x/a.jsonl:2", "y/a.jsonl:1", "y/a.jsonl:2"]
    assert [row.root.name for row in rows] == ["x", "x", "y", "y"]
    assert [row.id for row in rows] == ["0", "1", "2", "3"]


def test_more_rows_than_a_piece_of_the_table(tmp_path):
    wanted = [{"n": n} for n in range(2500)]
    rows = opened(written(tmp_path / "a.jsonl", wanted))
    assert [row.fields for row in rows] == wanted
    assert rows[2400].place == "a.jsonl:2401"
    assert rows[-1] == rows[2499]


def test_columns_reads_another_column_and_leaves_the_rest(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"id": "a", "x": 1, "text": "old", "more": 2}, {"text": "other"}])
    rows = opened(path, columns={"text": "x", "both": "x"})
    assert rows[0].fields == {"id": "a", "text": 1, "both": 1, "more": 2}
    assert rows[1].fields == {}
    assert list(rows.column("both")) == [1, None]
    with pytest.raises(KeyError, match="`x`"):
        rows.column("x")


def test_an_unknown_column_lists_what_there_is(tmp_path):
    message = failure(written(tmp_path / "a.jsonl"), columns={"target": "lable"})
    assert "a.jsonl has no column `lable`; there is `id`, `label`, `boxes`" in message
    assert "did you mean `label`?" in message
    assert "no column `uid`" in failure(written(tmp_path / "a.jsonl"), id="uid")


def test_a_column_that_only_one_late_row_has_is_known(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"a": 1}] * 1500 + [{"late": 2}])
    assert list(opened(path, columns={"x": "late"}).column("x"))[-1] == 2


def test_another_column_may_name_the_rows(tmp_path):
    rows = opened(written(tmp_path / "a.jsonl", [{"uid": "x"}, {"uid": "y"}, {"uid": None}]), id="uid")
    assert [row.id for row in rows] == ["x", "y", "2"]


def test_limit_reads_the_first_rows(tmp_path):
    rows = opened(written(tmp_path / "a.jsonl"), limit=2)
    assert len(rows) == 2
    assert len(list(rows)) == 2
    assert list(rows.column("label")) == [1, "one"]
    assert len(opened(tmp_path / "a.jsonl", limit=99)) == len(ROWS)


def test_column_gives_none_where_a_row_lacks_it(tmp_path):
    rows = opened(written(tmp_path / "a.jsonl"))
    assert list(rows.column("boxes")) == [[{"x": 1, "tags": []}], "none", None, None, None]
    with pytest.raises(KeyError) as caught:
        rows.column("lbael")
    assert caught.value.args[0].startswith("no row of a.jsonl has a field `lbael`; there is `id`, `label`")

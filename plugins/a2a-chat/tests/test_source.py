import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from a2a_chat.source import ChatSource
from a2a_core.errors import A2AError

TURNS = [{"from": "human", "value": "<image>Who?"}, {"from": "gpt", "value": "He."}]
ROWS = [{"id": str(n), "image": f"{n}.png", "conversations": TURNS} for n in range(3)]


def written(path, rows):
    text = json.dumps(rows, indent=1) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text)
    return path


def failure(path, **options):
    with pytest.raises(A2AError) as caught:
        ChatSource(path=path, **options).build()
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_the_same_rows_out_of_every_file(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        written(path, ROWS)
    rows = ChatSource(path=path).build()
    assert [row.id for row in rows] == ["0", "1", "2"]
    assert [row.fields["image"] for row in rows] == [["0.png"], ["1.png"], ["2.png"]]
    assert rows[0].fields["messages"][0]["content"] == [{"type": "image"}, {"type": "text", "text": "Who?"}]
    assert rows[0].root == tmp_path
    assert len(ChatSource(path=path, limit=2).build()) == 2
    assert pickle.loads(pickle.dumps(rows))[1] == rows[1]


def test_places_of_a_list(tmp_path):
    rows = ChatSource(path=written(tmp_path / "a.json", ROWS)).build()
    assert [row.place for row in rows] == ["a.json row 0", "a.json row 1", "a.json row 2"]


def test_lines_that_are_called_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert ChatSource(path=path).build()[2].place == "a.json:3"


def test_lines_of_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\n  two <b>\n")
    rows = ChatSource(path=path).build()
    assert [(row.fields, row.place) for row in rows] == [({"text": "one"}, "a.txt:1"), ({"text": "  two <b>"}, "a.txt:3")]


def test_pictures_in_parquet_are_bytes(tmp_path):
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "Who?"}]
    table = pa.table({"images": [[{"bytes": b"\x89", "path": None}]], "messages": [[{"role": "user", "content": parts}]]})
    pq.write_table(table, tmp_path / "a.parquet")
    (row,) = ChatSource(path=tmp_path / "a.parquet").build()
    assert row.fields["image"] == [b"\x89"]
    assert row.fields["messages"][0]["content"] == [{"type": "image"}, {"type": "text", "text": "Who?"}]


def test_columns_name_what_is_read(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"caption": "a cat", "label": 1}, {"caption": "a dog"}])
    rows = ChatSource(path=path, columns={"text": "caption"}).build()
    assert [row.fields for row in rows] == [{"text": "a cat", "label": 1}, {"text": "a dog"}]
    assert list(rows.column("label")) == [1, None]
    with pytest.raises(KeyError, match="has a field `caption`; there is"):
        rows.column("caption")


def test_the_format_is_that_of_the_first_rows(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"note": 1}, {"instruction": "x", "output": "y"}, {"text": "z"}])
    rows = ChatSource(path=path).build()
    assert "messages" in rows[1].fields
    assert "`instruction` and `output`" in rows[2].fields["unreadable"]
    assert "text" in ChatSource(path=path, format="text").build()[2].fields


def test_no_format_at_all_is_an_error_that_lists_what_was_looked_for(tmp_path):
    message = failure(written(tmp_path / "a.jsonl", [{"prompt": "x"}, {"completion": "y"}]))
    assert "the first 2 rows of a.jsonl are no conversations and no texts" in message
    for what in (
        "`conversations` of {from, value}",
        "`messages` of {role, content}",
        "`instruction` and `output`",
        "`prompt`",
        "columns",
    ):
        assert what in message


def test_a_row_that_cannot_be_read_says_so_and_stops_nothing(tmp_path):
    path = written(tmp_path / "a.jsonl", [*ROWS, {"id": "x", "conversations": [{"from": "who", "value": ""}]}])
    row = ChatSource(path=path).build()[3]
    assert row.id == "x"
    assert row.fields["unreadable"].startswith("message 1: nobody has the role 'who'")


def test_files_of_several_kinds_are_refused(tmp_path):
    written(tmp_path / "a.jsonl", ROWS)
    written(tmp_path / "b.json", ROWS)
    assert "are of several kinds: a.jsonl (JSON lines) and b.json (a JSON list)" in failure(tmp_path)
    assert len(ChatSource(path=tmp_path / "*.jsonl").build()) == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[{}, 3]", "a.json row 1 is no JSON object but int"),
        ("a.json", "[{},", "a.json is no list in JSON"),
        ("a.json", "[]", "a.json has no rows"),
        ("a.txt", "\n \n", "a.txt has no rows"),
        ("a.csv", "x", "no kind that is known"),
    ],
)
def test_a_broken_file_is_explained(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    assert message in failure(tmp_path / name)


def test_text_that_is_not_utf8_names_its_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\nt\xff\n")
    assert "a.txt:2:2 is not UTF-8" in failure(tmp_path / "a.txt")

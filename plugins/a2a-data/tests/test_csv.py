import pytest

from a2a_core.errors import A2AError
from a2a_data.csv import CsvSource


def opened(path, text=None, **options):
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return CsvSource(path=path, **options).build()


def fields(path, text, **options):
    return [row.fields for row in opened(path, text, **options)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.csv"


def test_columns_of_numbers_become_numbers(path):
    text = "id,whole,decimal,mixed,words\n1,1,0.5,1,a\n2,-20,-3e-2,.5,1\n3,,nan,,\n"
    first, second, third = fields(path, text)
    assert first == {"id": "1", "whole": 1, "decimal": 0.5, "mixed": 1.0, "words": "a"}
    assert second == {"id": "2", "whole": -20, "decimal": -0.03, "mixed": 0.5, "words": "1"}
    assert third["whole"] is third["mixed"] is third["words"] is None
    assert third["decimal"] != third["decimal"]
    assert [type(row["mixed"]) for row in (first, second)] == [float, float]


def test_columns_of_json_lists_become_lists(path):
    text = 'id,texts,mixed,words\n1,"[""ä, b"", ""c""]","[1, 0.5, {""y"": null}]",[1]\n2,,[],[laughs]\n3,[],"[[""x""]]",\n'
    rows = opened(path, text)
    assert [row.fields["texts"] for row in rows] == list(rows.column("texts")) == [["ä, b", "c"], None, []]
    assert [row.fields["mixed"] for row in rows] == [[1, 0.5, {"y": None}], [], [["x"]]]
    assert [row.fields["words"] for row in rows] == ["[1]", "[laughs]", None], "text, if any cell is no list"
    assert fields(path, None, numbers=False)[0]["texts"] == '["ä, b", "c"]'


@pytest.mark.parametrize(
    "cells", [("[1]", "2"), ("2", "[1]"), ("[1]", "x"), ('{"a": 1}', "[1]"), ("[1", "[2]"), ("[" * 9999, "[]")]
)
def test_a_column_of_lists_and_others_stays_text(path, cells):
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells)
    assert [row["x"] for row in fields(path, "x,y\n" + "".join(f"{cell},1\n" for cell in quoted))] == list(cells)


@pytest.mark.parametrize(
    "cell",
    ["007", "+49", "1_000", "0x1f", "00.5", "1 ", "99999999999999999999", "1,5", "١", "true", "NA", "1e5x", ".", "-"],
)
def test_what_is_not_a_number_as_one_prints_it_stays_text(path, cell):
    found = [row["x"] for row in fields(path, f'y,x\n1,"{cell}"\n2,5\n')]
    assert found == [cell, "5"]


def test_whole_numbers_of_64_bits_are_exact(path):
    assert [row["x"] for row in fields(path, f"x\n{2**63 - 1}\n-{2**63 - 1}\n")] == [2**63 - 1, 1 - 2**63]


def test_numbers_false_keeps_every_cell_as_text(path):
    assert fields(path, "a,b\n1,\n2,x\n", numbers=False) == [{"a": "1", "b": None}, {"a": "2", "b": "x"}]


def test_a_column_has_one_type_over_all_files(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,1\n" * 1 + "2,2\n" * 1500)
    (tmp_path / "b.csv").write_text("y,z\n3,4\nfour,5\n")
    rows = opened(tmp_path)
    assert rows[0].fields == {"x": 1, "y": "1", "z": None}
    assert rows[len(rows) - 1].fields == {"x": None, "y": "four", "z": 5}
    assert rows[len(rows) - 1].place == "b.csv:3"


def test_quoted_cells_and_lines(path):
    text = b'\xef\xbb\xbfid,text\r\na,"two\r\nlines, ""quoted"""\r\n\r\nb,\xc3\xbc\r\n'
    rows = opened(path, text)
    assert [row.fields["text"] for row in rows] == ['two\r\nlines, "quoted"', "ü"]
    assert [row.place for row in rows] == ["a.csv:2", "a.csv:5"]
    assert [row.id for row in rows] == ["a", "b"]


def test_another_delimiter_is_another_table(path):
    assert fields(path, "a\tb\n1\t2,5\n", delimiter="\t") == [{"a": 1, "b": "2,5"}]


def test_options_are_part_of_the_cache_key(path):
    assert fields(path, "a;b\n1;2\n") == [{"a;b": "1;2"}]
    assert fields(path, "a;b\n1;2\n", delimiter=";") == [{"a": 1, "b": 2}]
    assert fields(path, "a;b\n1;2\n", delimiter=";", id="a") == [{"a": "1", "b": 2}]
    assert fields(path, "a;b\n1;2\n", delimiter=";", numbers=False) == [{"a": "1", "b": "2"}]


def test_a_cell_may_be_long(path):
    assert fields(path, f"x\n{'y' * 200_000}\n") == [{"x": "y" * 200_000}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3\n", "a.csv:4 has 1 cells, the header 2"),
        ("a,b\n1,2,3\n", "a.csv:2 has 3 cells, the header 2"),
        ("a,b,a\n1,2,3\n", "a.csv:1 names the column `a` twice"),
        ('a,b\n1,2\n3,"x\n4,5\n', "a.csv:3 is no CSV: unexpected end of data"),
        ('a,b\n1,"x"y\n', "a.csv:2 is no CSV"),
        (b"a,b\n1,2\n3,\xff\n", "a.csv:3 is not UTF-8 (byte 3)"),
        ("a,b\n", "a.csv has no rows"),
        ("", "a.csv has no rows"),
    ],
)
def test_a_broken_file_names_the_line(path, text, message):
    with pytest.raises(A2AError) as caught:
        opened(path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_a_delimiter_is_one_character(path, delimiter):
    with pytest.raises(ValueError, match="delimiter"):
        CsvSource(path=path, delimiter=delimiter)


def test_column_and_columns(path):
    rows = opened(path, "id,score,text\na,1,x\nb,,y\n", columns={"value": "score"})
    assert list(rows.column("value")) == [1, None]
    assert rows[0].fields == {"id": "a", "text": "x", "value": 1}
    with pytest.raises(KeyError, match="`score`"):
        rows.column("score")
    with pytest.raises(A2AError, match="did you mean `score`"):
        opened(path, columns={"value": "scores"})

from pathlib import Path

from a2a_core.inference import read_lines


def test_lines_are_known_by_their_id() -> None:
    lines = ('{"id": 7}', "", '{"_id": "d1"}', '{"x": 1}')
    assert [row.id for row in read_lines(lines, "rows.jsonl", Path())] == ["7", "d1", "4"]

"""The source `csv`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.options import option
from a2a_data.source import FileSource

if TYPE_CHECKING:
    from a2a_core.components import Rows


class CsvSource(FileSource):
    """Tables as text (RFC 4180): a header, then a row a line, UTF-8; quoted cells may hold line breaks.

    A column becomes whole numbers or decimals only if every one of its cells in all files is such a number as one would
    print it: `007`, `+49` and `1_000` stay text, and so does the column of ids. In the same way a column of nothing but JSON
    lists, `["one", "another"]`, becomes lists. An empty cell is None, whatever the column. `train.csv:17` is the line that
    a row starts in.
    """

    name = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    delimiter: str = option("the character between two cells", default=",")
    numbers: bool = option(
        "columns of nothing but numbers become numbers, of JSON lists lists; false: every cell stays text", default=True
    )

    def check(self) -> None:
        """One character between cells, none that means something else."""
        super().check()
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ValueError(f"`delimiter` must be one character and neither a quote nor a line break, got {self.delimiter!r}")

    def build(self) -> Rows:
        """Read the files into the cache, or find them there."""
        from a2a_data.cache import content_key
        from a2a_data.csv_reader import CsvRows, tables
        from a2a_data.rows import open_rows

        def key(files: Sequence[Path]) -> str:
            return content_key(files, self.delimiter, self.numbers, self.id)

        return open_rows(self, CsvRows, key, lambda files: tables(files, self))

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three rows."""
        path = folder / "tiny.csv"
        path.write_text('id,label,score,note\na,3,0.5,"two\nlines"\nb,,1,\n007,4,-2e3,ü\n', "utf-8")
        return cls(path=path)

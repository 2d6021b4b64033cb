"""Parquet as a table of plain types; what `datasets` would decode stays as it was stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from a2a_core.errors import A2AError
from a2a_data.columns import ColumnRows, piece
from a2a_data.rows import empty

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 26
Convert = Callable[[Any], Any]


class ParquetRows(ColumnRows):
    """Rows of parquet files."""

    mark: ClassVar[str] = " row "

    def record(self, row: Any) -> dict[str, Any]:
        """The struct as a dict, media as bytes or a path."""
        found = super().record(row)
        for name, convert in self._converters.items():
            found[name] = convert(found[name])
        return found

    def cells(self, chunk: pa.StructArray, column: str) -> Iterable[Any]:
        """Media as bytes or a path here too."""
        convert = self._converters.get(column)
        return map(convert, super().cells(chunk, column)) if convert else super().cells(chunk, column)

    def _map(self) -> None:
        super()._map()
        found = {field.name: converter(field.type) for field in self._row.type}
        self._converters: dict[str, Convert] = {name: convert for name, convert in found.items() if convert}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_converters"}


def converter(dtype: pa.DataType) -> Convert | None:
    """What makes bytes or a path of the media in a value of this type; None where there are none."""
    if is_medium(dtype):
        return medium
    if pa.types.is_struct(dtype):
        inner = {field.name: convert for field in dtype if (convert := converter(field.type))}
        return (
            (lambda value: value and value | {name: convert(value[name]) for name, convert in inner.items()}) if inner else None
        )
    if is_list(dtype) and (each := converter(dtype.value_type)):
        return lambda value: value and [each(item) for item in value]
    return None


def is_medium(dtype: pa.DataType) -> bool:
    """`datasets` stores an image, a sound or a video as {bytes, path}."""
    return bool(pa.types.is_struct(dtype)) and {field.name for field in dtype} == {"bytes", "path"}


def is_list(dtype: pa.DataType) -> bool:
    """Of any length."""
    return bool(pa.types.is_list(dtype)) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)


def medium(value: dict[str, Any] | None) -> bytes | str | None:
    """The bytes if they were stored, else the path."""
    if value is None:
        return None
    found: bytes | str | None = value["path"] if value["bytes"] is None else value["bytes"]
    return found


def tables(files: Sequence[Path]) -> Iterator[pa.Table]:
    """All files as one table; A2AError for a file that cannot be read, or whose columns do not fit the others'."""
    schema = reduce(unified, files, pa.schema([]))
    rows = 0
    for number, file in enumerate(files):
        for start, batch in batches(file):
            rows += len(batch)
            columns = {field.name: column(file, batch, field) for field in schema}
            yield piece(number, range(start, start + len(batch)), columns)
    if not rows:
        raise empty(files)


def unified(schema: pa.Schema, file: Path) -> pa.Schema:
    """A schema that takes a file's rows too."""
    try:
        found = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise A2AError(f"{file} is no parquet file: {error}") from None
    twice = [name for name in found.names if found.names.count(name) > 1]
    if twice:
        raise A2AError(f"{file} has the column `{twice[0]}` twice")
    plain = pa.schema([pa.field(field.name, storable(file, field)) for field in found])
    try:
        return pa.unify_schemas([schema, plain], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise A2AError(f"the columns of {file} do not fit those of the files before it: {error}") from None


def storable(file: Path, field: pa.Field) -> pa.DataType:
    """A column's type in the table."""
    extension = isinstance(field.type, pa.BaseExtensionType)
    dtype = plain(field.type.storage_type if extension else field.type)
    try:
        Features.from_arrow_schema(pa.schema([(field.name, dtype)]))
    except (ValueError, NotImplementedError) as error:
        raise A2AError(f"column `{field.name}` of {file} has a type that cannot be kept: {error}") from None
    return dtype


def plain(dtype: pa.DataType) -> pa.DataType:
    """The nearest type whose values JSON can hold (or bytes): times as text, decimals as floats, maps as pairs."""
    if pa.types.is_dictionary(dtype):
        return plain(dtype.value_type)
    if pa.types.is_temporal(dtype):
        return pa.string()
    if pa.types.is_decimal(dtype):
        return pa.float64()
    if pa.types.is_map(dtype):
        return pa.list_(pa.struct([("key", plain(dtype.key_type)), ("value", plain(dtype.item_type))]))
    if pa.types.is_struct(dtype):
        return pa.struct([(field.name, plain(field.type)) for field in dtype])
    if is_list(dtype):
        return pa.large_list(plain(dtype.value_type)) if pa.types.is_large_list(dtype) else pa.list_(plain(dtype.value_type))
    return dtype


def batches(file: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pieces of a file with the number of their first row, of about 64 MiB at the most."""
    try:
        with pq.ParquetFile(file) as opened:
            groups = [opened.metadata.row_group(index) for index in range(opened.num_row_groups)]
            heaviest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
            start = 0
            for batch in opened.iter_batches(max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1, heaviest))))):
                yield start, batch
                start += len(batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise A2AError(f"cannot read {file}: {error}") from None


def column(file: Path, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    """A column of a piece in the table's type; nothing where the file has no such column."""
    if field.name not in batch.schema.names:
        return pa.nulls(len(batch), field.type)
    found = batch.column(field.name)
    if isinstance(found, pa.ExtensionArray):
        found = found.storage
    try:
        return found.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise A2AError(f"column `{field.name}` of {file} cannot be read as {field.type}: {error}") from None

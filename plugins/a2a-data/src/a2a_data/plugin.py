"""What a2a-data offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_sources() -> Mapping[str, str]:
    """Sources over files and folders, and a mix of sources."""
    return {
        "jsonl": "a2a_data.jsonl:JsonlSource",
        "csv": "a2a_data.csv:CsvSource",
        "parquet": "a2a_data.parquet:ParquetSource",
        "datasets": "a2a_data.saved:DatasetsSource",
        "media": "a2a_data.media:MediaSource",
        "mix": "a2a_data.mix:MixSource",
    }

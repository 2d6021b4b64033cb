"""What a2a-streaming offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_sources() -> Mapping[str, str]:
    """Sources over shards, and a mix of them."""
    return {
        "webdataset": "a2a_streaming.webdataset:WebDatasetSource",
        "streaming-jsonl": "a2a_streaming.jsonl:StreamingJsonlSource",
        "streaming-parquet": "a2a_streaming.parquet:StreamingParquetSource",
        "streaming-mix": "a2a_streaming.mix:StreamingMixSource",
    }

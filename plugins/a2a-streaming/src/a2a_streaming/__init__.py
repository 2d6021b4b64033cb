"""Sources that are read as they come: shards of tar, JSON lines and Parquet, local or remote, and mixes of them."""

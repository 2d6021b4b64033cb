"""Where rows come from: files as memory-mapped tables, and mixes of several sources."""

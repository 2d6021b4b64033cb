"""Which class a sample is, and which numbers belong to it: heads, losses, metrics."""

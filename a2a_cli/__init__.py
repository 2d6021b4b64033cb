"""The command line: `a2a`."""

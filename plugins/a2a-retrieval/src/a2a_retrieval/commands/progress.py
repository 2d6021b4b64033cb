"""How far a command is, on stderr: a live line on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time

import click

LIVE, PLAIN = 0.25, 10.0
"""Seconds between two words."""


class Progress:
    """Counts what is done."""

    def __init__(self, what: str) -> None:
        self.what, self.done = what, 0
        self.live = sys.stderr.isatty()
        self.began = self.told = time.monotonic()
        self.spoken = False

    def __call__(self, more: int) -> None:
        """So many more."""
        self.done += more
        now = time.monotonic()
        if now - self.told < (LIVE if self.live else PLAIN):
            return
        self.told, self.spoken = now, True
        text = f"{self.what} {self.done:,}, {self.done / (now - self.began):,.0f}/s"
        click.echo(f"\r{text:60}" if self.live else text, nl=not self.live, err=True)

    def close(self) -> None:
        """Go on below it."""
        if self.spoken and self.live:
            click.echo(err=True)

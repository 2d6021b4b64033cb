"""What a run tells whoever watches: the command line shows it, or prints it as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Reporter(Protocol):
    """Told everything on the main rank; shows what it likes."""

    def prepare(self, what: str, done: int, total: int) -> None:
        """Something that takes a while before training begins, and how far it is; called often."""

    def features(self, encoder: str, found: int, computed: int, size: int) -> None:
        """A frozen encoder's features are ready: media found in the cache and computed now, and the bytes of both."""

    def start(self, steps: int, done: int, trainable: int, total: int) -> None:
        """Training begins: optimizer steps in all and done before, parameters trainable and total."""

    def step(self, step: int) -> None:
        """One optimizer step is done."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """What was recorded at a step: loss, terms, learning rate, speed."""

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """A split's metrics."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

    def close(self) -> None:
        """Training has ended, one way or another."""


class Silent:
    """A reporter that shows nothing: for ranks other than the main one, and for scripts."""

    def prepare(self, what: str, done: int, total: int) -> None:
        """See Reporter."""

    def features(self, encoder: str, found: int, computed: int, size: int) -> None:
        """See Reporter."""

    def start(self, steps: int, done: int, trainable: int, total: int) -> None:
        """See Reporter."""

    def step(self, step: int) -> None:
        """See Reporter."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """See Reporter."""

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """See Reporter."""

    def note(self, text: str) -> None:
        """See Reporter."""

    def close(self) -> None:
        """See Reporter."""

"""A component under test: its configuration, and what a kind of check needs to have of it, made once."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor

from a2a_core.options import Component
from a2a_core.testing.check import CheckFailed, attempt
from a2a_core.testing.compare import enlivened, seeded, tensors

C = TypeVar("C", bound=Component)

TINY = """
    @classmethod
    def tiny(cls, folder):
        return cls(width=16)          # every option without a default, and few channels and layers
"""


class Subject(Generic[C]):
    """A component's class, or an instance with a configuration of the author's own choice."""

    def __init__(self, component: C | type[C], label: str = "", modules: tuple[str, ...] = ()) -> None:
        given = None if isinstance(component, type) else component
        self.cls: type[C] = component if isinstance(component, type) else type(component)
        self.label = label or f"{self.cls.kind}:{self.cls.name or self.cls.__name__}"
        self.modules = modules or (self.cls.__module__,)
        """Those that are imported beside the component's in one process, to see what they import."""
        self._given = given

    @property
    def given(self) -> bool:
        """The author gave an instance."""
        return self._given is not None

    def prepare(self) -> None:
        """Ask for everything that its checks build on; CheckFailed where it is not there."""
        self.config  # noqa: B018

    @cached_property
    def flaw(self) -> CheckFailed | None:
        """What `prepare` found wrong."""
        try:
            with seeded(), attempt("making and running it"):
                self.prepare()
        except CheckFailed as failure:
            return failure
        return None

    @cached_property
    def folder(self) -> Path:
        """A folder of its own, removed with the subject."""
        folder = tempfile.mkdtemp(prefix="a2a-testing-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    @cached_property
    def config(self) -> C:
        """The instance to test."""
        if self._given is not None:
            return self._given
        with attempt(f"`{self.cls.__name__}.tiny(folder)`", remedy=f"give the class\n{TINY}"), seeded():
            return self.cls.tiny(self.folder)


class ModuleSubject(Subject[C]):
    """A component that builds a module."""

    def prepare(self) -> None:
        """It builds, and runs on its arguments."""
        arguments = self.arguments()
        with attempt("build()"):
            module = self.fresh()
        with attempt("forward"):
            self.forward(module, *arguments)

    @abstractmethod
    def make(self) -> Any:
        """Build it."""

    @abstractmethod
    def arguments(self) -> tuple[Any, ...]:
        """What the module is called with, on the CPU, the same at every call: examples of different lengths."""

    def forward(self, module: Any, *arguments: Any) -> Any:
        """Call it."""
        return module(*arguments)

    @abstractmethod
    def whole(self) -> dict[str, Any]:
        """The parts of a small model with it."""

    def fresh(self, seed: int = 0) -> Any:
        """A new module in evaluation mode, the same for the same seed."""
        with seeded(seed):
            return self.make().eval()

    def lively(self) -> Any:
        """A new module whose every parameter matters."""
        return enlivened(self.fresh())

    def outputs(self, module: Any) -> dict[str, Tensor]:
        """Every tensor that the module makes of its arguments."""
        with seeded():
            return tensors(self.forward(module, *self.arguments()))

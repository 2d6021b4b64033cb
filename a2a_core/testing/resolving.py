"""What encoders and fusions promise of `resolved()`, and what a checkpoint keeps."""

from __future__ import annotations

import shutil
from typing import Any

from a2a_core.testing.check import attempt, expect
from a2a_core.testing.compare import seeded
from a2a_core.testing.modules import listed, shapes
from a2a_core.testing.subject import ModuleSubject


def resolved_is_self_contained(subject: ModuleSubject[Any]) -> None:
    """`resolved()` builds the same module and processor when the files are gone; resolving it again changes nothing."""
    own = type(subject)(subject.config if subject.given else subject.cls)
    with attempt("resolved()"):
        once = own.config.resolved()
    wanted = shapes(own.fresh())
    if not subject.given:
        shutil.rmtree(own.folder)  # what tiny() wrote
    remedy = "read in what build() and processor() need"
    with seeded(), attempt("building from what resolved() gave, without the files", remedy=remedy):
        twice = once.resolved()
        got = shapes(type(subject)(once).fresh())
        processor = once.processor()
        if hasattr(processor, "dummy"):
            processor.dummy()
    expect(once == twice, "resolved() of what is resolved differs", f"{once} against {twice}")
    differ = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    expect(not differ, f"resolved() builds a module with other tensors: {listed(differ)}")


CHECKS = (resolved_is_self_contained,)

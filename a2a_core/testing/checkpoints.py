"""A component in a whole model that is saved and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from a2a_core.errors import A2AError
from a2a_core.testing.check import NotApplicable, attempt, expect
from a2a_core.testing.compare import enlivened, seeded
from a2a_core.testing.modules import listed, state
from a2a_core.testing.subject import ModuleSubject


def survives_a_checkpoint(subject: ModuleSubject[Any]) -> None:
    """In a whole model, what `save_pretrained` wrote is what `from_pretrained` reads: every tensor, bit for bit.

    That is how a run resumes and how an export is opened; `load()` is called before, and not again.
    """
    from a2a_core.export import verify
    from a2a_core.model import A2AConfig, A2AModel
    from a2a_core.recipe import Parts, plain

    parts = Parts(**subject.whole())
    with attempt("a model with it"), seeded():
        try:
            model = enlivened(A2AModel.from_parts(parts))
        except A2AError as error:
            raise NotApplicable(f"it does not fit the kit's tiny model: {error}") from error
    with tempfile.TemporaryDirectory(prefix="a2a-testing-") as folder:
        tied = "two parameters that share memory: weights tied by hand"
        with attempt("save_pretrained()", tied, "use one module twice, or F.linear with the other's weight"):
            model.save_pretrained(folder)
        with attempt("the files that save_pretrained() wrote", "save_pretrained() of a part that renames its tensors"):
            verify(model, Path(folder))
        with attempt("from_pretrained() of what was saved", "parameters that are registered, renamed or resized after build()"):
            again = A2AModel.from_pretrained(folder, config=A2AConfig(parts=plain(parts)), parts=parts)
    before, after = state(model), state(again)
    changed = sorted(
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not torch.equal(before[name], after[name])
    )
    expect(
        not changed,
        f"different after saving and loading: {listed(changed)}",
        because="a buffer that is not saved and that reset_buffers() does not fill",
        remedy="see refills_its_buffers",
    )


CHECKS = (survives_a_checkpoint,)

"""One run for all who were started for it: ranks by another launcher, or `a2a train` on several machines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from a2a_core.recipe import Loaded, fill
from a2a_core.runs import Run


def agreed(choose: Callable[[], Run], loaded: Loaded) -> Run:
    """The first one's choice, and its mistake, are everybody's; A2AError where they do not see one folder, or recipe."""
    backend = loaded.recipe.backend
    recipe = hashlib.sha256(fill(loaded).encode()).hexdigest()[:12]
    run = Run(Path(backend.agree("run", lambda: str(choose().folder.resolve()), f"recipe {recipe}")))
    backend.agree("folder", lambda: "", f"{run.folder} is {'here' if run.recipe.is_file() else 'not here'}")
    return run

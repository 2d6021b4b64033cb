"""What tells the vectors of one model from those of another."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from a2a_core.errors import A2AError
from a2a_core.runs import Run

CHUNK = 1 << 22


class Origin(NamedTuple):
    """Where vectors come from, and what was made of them."""

    model: str
    """Of the exported model (see `fingerprint`)."""
    run: str
    """The run's name, for messages."""
    head: str
    side: str
    dimension: int
    normalised: bool
    dtype: str = "float32"
    multi_vector: bool = False
    """A vector a token."""


def fingerprint(run: Run) -> str:
    """32 hexadecimal digits for a run's exported model: its weights, its configuration, how it reads."""
    digest = blake2b(digest_size=16)
    for path in sorted([*run.model.glob("*.safetensors"), run.model / "config.json"]):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def refuse_other(found: Origin, run: Run, head: str | None, name: str) -> None:
    """A2AError unless vectors are of the run's model, and of the head that is asked for, if one is."""
    if found.model != fingerprint(run):
        whose = f"of run {found.run}, and this is {run.name}"
        whose = f"of {run.name} before it was trained again" if found.run == run.name else whose
        raise A2AError(
            f"{name} holds vectors of another model: {whose}", hint="embed them with the run that searches: `a2a embed`"
        )
    if head not in (None, found.head):
        raise A2AError(f"{name} holds vectors of head `{found.head}`, not `{head}`", hint=f"`--head {found.head}`, or none")

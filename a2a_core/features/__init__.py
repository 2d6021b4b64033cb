"""Frozen features, computed once: what a frozen encoder makes of each medium is kept for later epochs and later runs.

`cache` decides which encoders, and does all of it for a job: `content` is what tells one medium from another, `identity` one
encoder from another; `store` keeps an encoder's shards, each a file (`shard`), in the cache folder (`places`), one writer at
a time (`lock`); `fill` computes what is missing; `table` gives features as the items of rows. See docs/decisions/0009.
Importing this imports no torch.
"""

from __future__ import annotations

VALUES, MASK = "cache:values", "cache:mask"
"""Names of tensors that no encoder's `forward` can take: the model knows by them that the encoder has done its work."""


class Unusable(Exception):  # noqa: N818 - a reason to do without the cache, not always an error
    """Why an encoder's features cannot be kept: an error where the recipe says `cache = true`, else a note.

    `mistake`: the user's to mend before the run (exit code 2), against what befell the run (1).
    """

    def __init__(self, reason: str, hint: str = "", mistake: bool = True) -> None:
        super().__init__(reason, hint, mistake)
        self.reason, self.hint, self.mistake = reason, hint, mistake

"""What a part says is wrong with the recipe is a mistake, and no part that cannot be traced."""

from collections.abc import Callable

from torch import nn

from a2a_core import A2AError
from a2a_core.deep.standing_in import guarded
from a2a_core.errors import Problem


def test_a_part_that_refuses_is_a_mistake_and_what_follows_is_none() -> None:
    notes: list[str] = []
    refused: list[Problem] = []

    def fails(error: Exception) -> Callable[..., nn.Module]:
        def forward() -> nn.Module:
            raise error

        return forward

    for path, error in (
        ("fusion", A2AError("it needs something", hint="pip install it")),
        ("heads.a", A2AError("the fusion gave nothing")),
        ("heads.b", RuntimeError("shapes")),
    ):
        assert guarded(path, fails(error), lambda: "instead", notes, refused)() == "instead"
    assert [each.message for each in refused] == ["it needs something"]
    assert notes == ["`heads.b` cannot be traced (RuntimeError: shapes): it is left out of the figures"]

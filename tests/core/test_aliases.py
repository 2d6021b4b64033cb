from __future__ import annotations

from torch import nn

from a2a_core.aliases import aliases, place, spoken


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"tower": nn.ModuleDict({"last": nn.Linear(1, 1), "first": nn.Linear(1, 1)})})
        self.parts = {"vision": "model.tower", "merger": "model.tower.last"}


def test_a_part_is_known_by_its_place_and_by_the_name_that_its_owner_gives_it() -> None:
    model = nn.ModuleDict({"fusion": Named(), "head": nn.Linear(1, 1)})
    assert aliases(model) == {"fusion.model.tower": "fusion.vision", "fusion.model.tower.last": "fusion.merger"}
    assert spoken(model, (name for name, _ in model.named_parameters() if name.endswith("bias"))) == {
        "fusion.model.tower.last.bias": "fusion.merger.bias",
        "fusion.model.tower.first.bias": "fusion.vision.first.bias",
        "head.bias": "head.bias",
    }
    assert place(model, "fusion.merger") == place(model, "fusion.model.tower.last") == "fusion.model.tower.last"
    assert place(model, "fusion.vision.first") == "fusion.model.tower.first"
    assert place(model, "fusion.visionary") == "fusion.visionary"

"""Invariants of adapters."""

from __future__ import annotations

from typing import Any

import torch

from a2a_core.components import AdapterConfig
from a2a_core.errors import A2AError
from a2a_core.formats import example, furthest, outputs
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import Parts
from a2a_core.testing.check import NotApplicable, attempt, expect
from a2a_core.testing.compare import enlivened, seeded
from a2a_core.testing.modules import listed
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead
from a2a_core.testing.subject import Subject


class AdapterSubject(Subject[AdapterConfig]):
    """An adapter, and a model of reference components to apply it to."""

    def applied(self, device: str) -> Any:
        """The model, changed; NotApplicable where the adapter finds nothing in it."""
        parts = Parts(encoders={"it": ReferenceEncoder()}, fusion=ReferenceFusion(), heads={"head": ReferenceHead()})
        with torch.device(device), seeded():
            model = A2AModel(A2AModel.config_class(), parts)
            try:
                with attempt(f"apply() to a model on the {device} device"):
                    self.config.apply(model)
            except AssertionError as error:
                if isinstance(error.__cause__, A2AError):
                    raise NotApplicable(f"it does not fit the kit's tiny model: {error.__cause__}") from error
                raise
        return model


def applies_on_meta(subject: AdapterSubject) -> None:
    """Applied on the meta device it gives the same names and shapes: it is replayed there before weights are loaded."""
    shapes = [
        {name: (tuple(p.shape), p.requires_grad) for name, p in subject.applied(device).named_parameters()}
        for device in ("cpu", "meta")
    ]
    differ = sorted(name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name))
    expect(
        not differ,
        f"applied on the meta device, {listed(differ)} are other parameters",
        remedy="let it depend on names and shapes alone",
    )


def merges_into_the_weights(subject: AdapterSubject) -> None:
    """What `adds` says that it adds goes into the model's own weights: the same outputs, and nothing of it is left."""
    if not subject.config.adds:
        raise NotApplicable("it adds no weights (`adds`)")
    model = enlivened(subject.applied("cpu")).eval()
    inputs = example(model)
    before = outputs(model, inputs)
    with attempt("merge()"):
        subject.config.merge(model)
    parts = model.parts
    own = set(A2AModel(A2AConfig(), parts).state_dict())
    left = sorted(own ^ set(model.state_dict()))
    expect(not left, f"after merge() {listed(left)} are other tensors than before apply()")
    difference = furthest(outputs(model, inputs), before)
    expect(difference < 1e-4, "merge() changes what the model makes of its inputs", f"by {difference:.2g}")


CHECKS = (applies_on_meta, merges_into_the_weights)

"""Every installed encoder, in every installed fusion, survives a pass on fake tensors, and shows what it emits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.deep.fakes import Fakes
from a2a_core.deep.samples import longest
from a2a_core.deep.tracing import trace
from a2a_core.inference import Lines
from a2a_core.plugins import Catalog
from a2a_core.recipe import Parts
from a2a_core.structures import Plan
from a2a_core.testing.fusions import texts
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion

CATALOG = Catalog.installed()


def installed(kind: str) -> list[str]:
    """Qualified names."""
    return sorted({f"{plugin.dist}:{name}" for plugin, name in CATALOG.offers(kind)})


@pytest.fixture
def traced(toy_parts: Callable[..., Parts], tmp_path: Path) -> Callable[..., Any]:
    def run(encoder: Any, fusion: Any) -> tuple[Any, Any]:
        parts: Any = toy_parts()
        parts = attrs.evolve(parts, encoders={"it": encoder.resolved()}, fusion=fusion.resolved())
        media = list(encoder.examples(tmp_path))
        rows = [Row({"it": medium, "value": 1.0}, str(place), tmp_path, "") for place, medium in enumerate(media)]
        data = prepare(Lines(rows), parts)
        samples: Any = [data[place] for place in range(len(data))]
        batch = collator(PadCollator(), parts)(samples)
        if fusion.reads_text:
            batch["inputs"]["text"] = texts(
                11, ["it"], [{"it": [item.length for item in each.items["it"]]} for each in samples]
            )
        fakes = Fakes("cpu")
        return trace(fakes, fakes.model(parts), batch, len(samples), Plan(precision="bf16"), longest(samples, parts)), samples

    return run


@pytest.mark.parametrize("name", installed("encoder"))
def test_every_encoder(traced: Any, name: str, tmp_path: Path) -> None:
    found, samples = traced(CATALOG.find("encoder", name).tiny(tmp_path), ReferenceFusion())
    assert found.notes == ()
    assert found.unreached == ()
    several, tokens, _ = found.shapes["encoders.it"][1]["values"]
    assert several == sum(len(sample.items["it"]) for sample in samples)
    assert tokens >= max(item.length for sample in samples for item in sample.items["it"])


@pytest.mark.parametrize("name", installed("fusion"))
def test_every_fusion(traced: Any, name: str, tmp_path: Path) -> None:
    fusion = CATALOG.find("fusion", name).tiny(tmp_path)
    if fusion.media():
        pytest.skip("it reads media of its own, which cannot be made up here")
    if fusion.build({"it": 16}).width is None:
        pytest.skip("it pools nothing, and the head here reads what is pooled")
    found, _ = traced(ReferenceEncoder(), fusion)
    assert found.notes == ()
    assert [each for each in found.unreached if not each.endswith("lm_head.weight")] == []  # the head here writes no text
    assert found.flops["fusion"] > 0

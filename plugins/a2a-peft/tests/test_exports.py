"""Adapters taken into the weights, and exported as peft opens them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from a2a_core import A2AError, RunFailed, Tokens, option
from a2a_core.data import Collate
from a2a_core.formats import chosen, example, export_as, offers, outputs
from a2a_core.model import A2AModel
from a2a_core.plugins import Catalog, Plugin, owners
from a2a_core.recipe import Parts
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead
from a2a_peft.freeze import FreezeAdapter
from a2a_peft.lora import LoraAdapter
from a2a_peft.merging import take_in

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 60}


class Bert(nn.Module):
    """A stock model that reads numbers."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.model = BertModel(BertConfig(**TINY), add_pooling_layer=False)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        mask = torch.arange(numbers.shape[1]) < lengths[:, None]
        embedded = torch.sin(numbers[..., None] * torch.arange(1, 17))
        return Tokens(self.model(inputs_embeds=embedded, attention_mask=mask.long()).last_hidden_state, mask)


class BertEncoder(ReferenceEncoder):
    """The encoder of it."""

    name = "bert"
    path: Path | None = option("a directory with its weights", default=None)

    def build(self) -> nn.Module:
        return Bert()

    def load(self, module: Any) -> None:
        if self.path is not None:
            module.model = BertModel.from_pretrained(self.path, add_pooling_layer=False)


class Nothing:
    """A collator of no text."""


COLLATE = Collate(Nothing())  # type: ignore[arg-type]
LORA = LoraAdapter(part="encoders.it", r=3, alpha=5.0, targets=("query", "value", "output.dense"))


@pytest.fixture(autouse=True)
def of_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests before these may have offered the kit's parts as plugins of their own, which are gone."""
    for cls in (BertEncoder, ReferenceEncoder, ReferenceFusion, ReferenceHead):
        monkeypatch.delitem(owners, cls, raising=False)


def made(*adapters: Any, path: Path | None = None) -> A2AModel:
    torch.manual_seed(0)
    parts = Parts(
        encoders={"it": BertEncoder(path=path), "other": ReferenceEncoder()},
        fusion=ReferenceFusion(),
        heads={"head": ReferenceHead()},
        adapters=adapters,
    )
    model = A2AModel(A2AModel.config_class(), parts, load=True).train(False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}])
def test_merging_is_pefts(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    base = BertModel(BertConfig(**TINY), add_pooling_layer=False).eval()
    names = {"use_rslora": options.get("rslora", False), "use_dora": options.get("dora", False)}
    theirs: Any = get_peft_model(
        copy.deepcopy(base), LoraConfig(r=3, lora_alpha=5.0, target_modules=r".*(query|value|output\.dense)", **names)
    )
    ours = nn.ModuleDict({"encoders": nn.ModuleDict({"it": base})})
    LoraAdapter(**{**vars(LORA), **options}).apply(ours)
    part = ours["encoders"]["it"]  # type: ignore[index]
    with torch.no_grad():
        for name, parameter in part.named_parameters():
            if "lora_" in name:
                parameter.normal_(1.0 if "magnitude" in name else 0.0, 0.2)
    theirs.load_state_dict({f"base_model.model.{name}": value for name, value in part.state_dict().items()})
    take_in(part)
    expected = theirs.merge_and_unload().state_dict()
    found = part.state_dict()
    assert found.keys() == expected.keys() == BertModel(BertConfig(**TINY), add_pooling_layer=False).state_dict().keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)
    assert not any(hasattr(module, "peft_config") for module in part.modules())


def test_peft_opens_the_adapter_on_a_base_that_no_directory_holds(tmp_path: Path) -> None:
    model = made(LORA)
    inputs = example(model)
    wanted = model.encoders["it"](**inputs["it"]["tensors"]).values
    offer = chosen(offers(model, COLLATE), "adapter")
    assert offer.beside == ("encoders.other", "fusion", "heads.head")
    written = export_as(model, COLLATE, offer, tmp_path / "out")
    assert written.difference < 1e-5
    assert "`base` holds the model" in written.notes[0]
    base = BertModel.from_pretrained(tmp_path / "out" / "base", add_pooling_layer=False)
    opened: Any = PeftModel.from_pretrained(base, tmp_path / "out")
    alone = Bert()
    alone.model = opened.base_model.model.eval()
    torch.testing.assert_close(alone(**inputs["it"]["tensors"]).values, wanted, atol=1e-6, rtol=1e-5)
    with opened.disable_adapter():
        assert (alone(**inputs["it"]["tensors"]).values - wanted).abs().max() > 1e-2
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (3, 5.0)
    assert "encoder.layer.1.attention.self.query" in settings["target_modules"]


def test_the_directory_that_the_model_came_from_is_its_base(tmp_path: Path) -> None:
    torch.manual_seed(5)
    BertModel(BertConfig(**TINY), add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    model = made(LORA, path=tmp_path / "bert")
    written = export_as(model, COLLATE, chosen(offers(model, COLLATE), "adapter"), tmp_path / "out")
    assert not written.notes
    assert not (tmp_path / "out" / "base").exists()
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tmp_path / "bert"
    )
    with torch.no_grad():
        model.encoders["it"].model.encoder.layer[0].output.LayerNorm.weight += 1
    assert export_as(model, COLLATE, chosen(offers(model, COLLATE), "adapter"), tmp_path / "more").notes


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of these tests as some plugin's: what was saved is opened by their names."""
    parts = {("encoder", "bert"): BertEncoder, ("encoder", "reference"): ReferenceEncoder}
    parts |= {("fusion", "reference"): ReferenceFusion, ("head", "reference"): ReferenceHead}  # type: ignore[dict-item]
    offers: dict[str, dict[str, str]] = {}
    for (kind, name), cls in parts.items():
        offers.setdefault(kind, {})[name] = f"{cls.__module__}:{cls.__qualname__}"
    installed = Catalog.installed()
    mine = Plugin("mine", "mine", "mine", "0", offers)
    catalog = Catalog((*installed.plugins, mine), found={(kind, "mine", name): cls for (kind, name), cls in parts.items()})
    monkeypatch.setattr(Catalog, "installed", classmethod(lambda cls, allow=None: catalog))


@pytest.mark.usefixtures("offered")
def test_the_merged_model_is_one_without_adapters(tmp_path: Path) -> None:
    model = made(LORA, FreezeAdapter(match=("fusion.*",)))
    inputs = example(model)
    wanted = outputs(model, inputs)["head/values"]
    offered = offers(model, COLLATE)
    assert chosen(offered, None).name == "merged", "the adapter leaves parts out"
    export_as(model, COLLATE, chosen(offered, None), tmp_path / "out")
    table = json.loads((tmp_path / "out" / "config.json").read_text())["parts"]
    assert not table.get("adapters")
    again: Any = A2AModel.from_pretrained(tmp_path / "out")
    assert not any("lora" in name for name in again.state_dict())
    torch.testing.assert_close(outputs(again.eval(), inputs)["head/values"], wanted, atol=1e-5, rtol=1e-5)


def test_a_merge_that_changes_the_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(LORA)
    offer = chosen(offers(model, COLLATE), "merged")
    monkeypatch.setattr("peft.tuners.lora.layer.Linear.get_delta_weight", lambda self, name: torch.ones(()))
    with pytest.raises(RunFailed, match="with the adapters in its weights the model comes out otherwise"):
        export_as(model, COLLATE, offer, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("adapters", "reason"),
    [
        ((LORA, LoraAdapter(part="fusion")), r"updates stand in several parts \(encoders.it, fusion\)"),
        ((LoraAdapter(part="fusion"),), "`fusion` is no model of transformers"),
        (
            (LoraAdapter(part="encoders.it", targets=("query",), modules_to_save=("embeddings.LayerNorm",)),),
            r"`encoders.it.model.embeddings.LayerNorm.weight` was trained, too",
        ),
    ],
)
def test_what_an_adapter_of_peft_does_not_hold(adapters: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(A2AError, match=f"cannot be written as `adapter`: {reason}"):
        chosen(offers(made(*adapters), COLLATE), "adapter")

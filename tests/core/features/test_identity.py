import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from a2a_core import AdapterConfig, EncoderConfig, RecordingConfig, option
from a2a_core.features import Unusable, identity, provenance
from a2a_core.features.identity import arithmetic, encoder_key
from a2a_core.plugins import Plugin
from a2a_core.testing.reference import ReferenceEncoder


class Pretrained(ReferenceEncoder):
    """As the reference, with weights from somewhere."""

    name = "pretrained"
    path: Path | None = option("weights", default=None)


class Framed(ReferenceEncoder):
    """Holds another encoder."""

    name = "framed"
    inner: EncoderConfig = option("another", default=ReferenceEncoder())


class Rescale(AdapterConfig):
    """Puts a module into the encoder that has no tensors."""

    name = "rescale"
    factor: float = option("factor", default=1.0)

    def apply(self, model: Any) -> None:
        model.scaled = torch.nn.Identity()


def key(config: EncoderConfig, adapters: tuple[AdapterConfig, ...] = (), how: str = "cpu float32", change: bool = False) -> str:
    torch.manual_seed(0)
    module = config.build()
    if change:
        next(module.parameters()).data[0] += 1e-6
    for adapter in adapters:
        adapter.apply(module)
    return encoder_key(config, module, adapters, how)


@pytest.mark.parametrize(
    "changed",
    [
        {"config": Pretrained(width=8)},
        {"config": Pretrained(cache_dtype="bfloat16")},
        {"config": ReferenceEncoder()},
        {"how": "cpu bfloat16"},
        {"change": True},
        {"adapters": (Rescale(),)},
        {"adapters": (Rescale(factor=2.0),)},
        {"config": Framed()},
        {"config": Framed(inner=ReferenceEncoder(width=8))},
    ],
)
def test_what_changes_tokens_changes_the_key(changed: dict[str, Any]) -> None:
    assert key(**{"config": Pretrained()} | changed) != key(Pretrained())


def test_adapters_with_other_settings_are_told_apart() -> None:
    assert key(Pretrained(), (Rescale(),)) != key(Pretrained(), (Rescale(factor=2.0),))


def test_what_changes_no_token_changes_no_key(tmp_path: Path) -> None:
    class Elsewhere(AdapterConfig):
        """Leaves the encoder as it is."""

        name = "elsewhere"

        def apply(self, model: Any) -> None:
            pass

    for same in ({"field": "x"}, {"freeze": True}, {"cache": True}, {"path": tmp_path}):
        assert key(Pretrained(**same)) == key(Pretrained())
    assert key(Pretrained(), (Elsewhere(),)) == key(Pretrained())
    assert key(Framed(inner=ReferenceEncoder(freeze=True))) == key(Framed())


def test_an_edit_of_the_plugin_changes_the_key(make_plugin: Callable[..., Path]) -> None:
    home = make_plugin(
        "edited",
        {},
        parts="from a2a_core.testing.reference import ReferenceEncoder as Encoder\n\n"
        'class Mine(Encoder):\n    """Mine."""\n\n    name = "mine"\n',
    )
    parts: Any = importlib.import_module("edited.parts")
    before = key(parts.Mine())
    provenance.code.cache_clear()
    assert key(parts.Mine()) == before
    (home / "parts.py").write_text((home / "parts.py").read_text() + "# another decoder\n")
    provenance.code.cache_clear()
    assert key(parts.Mine()) != before


def test_versions_are_those_of_what_the_plugin_needs() -> None:
    found = provenance.versions(("a2a-trainer", "not-installed"))
    assert {"torch", "transformers", "numpy", "a2a-trainer", "safetensors"} <= found.keys()


def test_arithmetic_is_what_runs() -> None:
    cpu = torch.device("cpu")
    assert arithmetic(cpu, lambda: torch.autocast("cpu", enabled=False)) == "cpu torch.float32"
    assert arithmetic(cpu, lambda: torch.autocast("cpu", torch.bfloat16)) == "cpu torch.bfloat16"


def test_every_option_of_every_encoder_counts_but_those_of_the_bases() -> None:
    left_out = {"field", "like", "optional", "freeze", "cache", "cache_dtype"}
    assert {field.name for field in attrs.fields(Pretrained)} - left_out - {"path"} == identity.options(Pretrained()).keys() - {
        "class"
    }
    assert not {*left_out, "start", "end"} & identity.options(Recorded()).keys()


class Recorded(RecordingConfig, ReferenceEncoder):
    """A recording."""

    name = "recorded"


class Cropped(ReferenceEncoder):
    """No recording: its `start` and `end` are its own."""

    name = "cropped"
    start: int = option("first number", default=0)
    end: int = option("last number", default=9)


def test_options_that_are_called_as_a_recordings_are_count() -> None:
    assert len({key(Cropped()), key(Cropped(start=1)), key(Cropped(end=1))}) == 3
    assert key(Recorded(start="a", end="b")) == key(Recorded())


def test_what_lies_at_a_path_counts_but_for_weights(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "vocabulary.json").write_text("[1]")
        (folder / "model.safetensors").write_text(folder.name)
    before = key(Pretrained(path=one))
    assert before == key(Pretrained(path=other)) != key(Pretrained())
    (one / "vocabulary.json").write_text("[2]")
    assert key(Pretrained(path=one)) != before
    assert key(Pretrained(path=one / "vocabulary.json")) != key(Pretrained(path=other / "vocabulary.json"))
    assert key(Pretrained(path=tmp_path / "gone")) == key(Pretrained())


MINE = """from {base} import {name}

class Mine({name}):
    \"\"\"Mine.\"\"\"

    name = "mine"
"""
REFERENCE = MINE.format(base="a2a_core.testing.reference", name="ReferenceEncoder")


def edited(config: Any, path: Path) -> bool:
    """Whether an edit of a file makes another key."""
    before = key(config)
    path.write_text((path.read_text() if path.exists() else "") + "# another decoder\n")
    provenance.code.cache_clear()
    return key(config) != before


def test_an_edit_of_a_namespace_package_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "company_of_mine" / "encoders"
    home.mkdir(parents=True)
    (home.parent / "alone.py").write_text(REFERENCE)
    (home / "__init__.py").write_text("")
    (home / "parts.py").write_text(REFERENCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    parts: Any = importlib.import_module("company_of_mine.encoders.parts")
    alone: Any = importlib.import_module("company_of_mine.alone")
    assert edited(parts.Mine(), home / "decoder.py")
    assert not edited(parts.Mine(), home.parent / "beside.py")
    assert edited(alone.Mine(), home.parent / "beside.py")


def test_an_edit_of_what_it_inherits_changes_the_key(make_plugin: Callable[..., Path]) -> None:
    home = make_plugin("inherited", {}, parts=REFERENCE)
    make_plugin("inheriting", {}, parts=MINE.format(base="inherited.parts", name="Mine").replace("class Mine", "class Its"))
    parts: Any = importlib.import_module("inheriting.parts")
    assert edited(parts.Its(), home / "decoder.py")


def test_an_edit_of_a_plugin_that_it_requires_changes_the_key(
    make_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_plugin("decoding", {})
    between = make_plugin("between", {})
    mine = make_plugin("requiring", {}, parts=REFERENCE)
    for folder, needed in ((mine, "between>=0.1"), (between, "decoding")):
        with (folder.parent / f"{folder.name}-0.1.0.dist-info" / "METADATA").open("a") as metadata:
            metadata.write(f"Requires-Dist: {needed}\n")
    parts: Any = importlib.import_module("requiring.parts")
    plugin = Plugin("requiring", "requiring.plugin", "requiring", "0.1.0")
    monkeypatch.setitem(provenance.owners, parts.Mine, plugin)
    assert provenance.dists_of([parts.Mine]) == ["requiring", "between", "decoding"]
    assert edited(parts.Mine(), home / "decoder.py")


def test_the_cores_own_code_counts() -> None:
    assert "a2a_core" in provenance.code_of([], [])


def test_code_that_lies_in_no_file_is_unusable() -> None:
    typed = type("Typed", (ReferenceEncoder,), {"__doc__": "Typed at a prompt.", "name": "typed", "__module__": "typed_in"})
    with pytest.raises(Unusable, match="the code of `typed_in` lies in no file"):
        key(typed())

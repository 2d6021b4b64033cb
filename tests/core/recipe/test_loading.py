"""What tables say of one another, what a run needs, which plugins may be imported."""

import subprocess
import sys
import time

import pytest
from torch import nn

from a2a_core.errors import A2AError
from a2a_core.plugins import Catalog
from a2a_core.recipe import load_recipe
from a2a_core.recipe.loading import RESERVED


def test_a_whole_recipe(load, whole) -> None:
    loaded = load(whole, for_run=True)
    assert loaded.recipe.seed == 7
    assert loaded.recipe.losses["ce"].head == "label"


def test_a_bare_recipe_is_fine_until_it_runs(load, problems) -> None:
    assert load("").recipe.fusion is None
    assert problems("", for_run=True) == [
        "0: there is no `[data.train]`: the rows to train on",
        "0: there is no `[fusion]`: what joins the modalities",
        "0: there is no `[heads]`: what is predicted, a table each (`[heads.label]`)",
        "0: there is no `[losses]`: what is minimised, a table each (`[losses.label]`)",
    ]


def test_files_that_are_not_there(problems, load, whole) -> None:
    text = (
        whole.replace("train.jsonl", "gone.jsonl")
        + '[data.test]\nuse = "rows"\npath = "*.jsonl"\nmore = ["train.jsonl", "x"]\n'
    )
    load(text)
    found = problems(text, for_run=True)
    assert [each.rpartition("/")[2] for each in found] == ["gone.jsonl", "x"]
    assert "6: `data.train.path` names a file that is not there: /" in found[0]
    assert "`data.test.more` names a file that is not there: /" in found[1]
    assert "is a pattern that no file fits" in problems(whole.replace("train.jsonl", "*.gone"), for_run=True)[0]
    assert "is not there" in problems(whole.replace("train.jsonl", "x" * 300), for_run=True)[0]


def test_dangling_references(problems) -> None:
    text = '[metrics.a]\nuse = "accuracy"\nhead = "lable"\nothers = ["label", "x"]\n[heads.label]\nuse = "classify"\n'
    assert problems(text) == [
        "3: `metrics.a.head`: there is no `[heads.lable]` | did you mean `label`?",
        "4: `metrics.a.others`: there is no `[heads.x]` | there is `label`",
    ]


def test_a_fusion_of_nothing(problems, load, whole) -> None:
    (found,) = problems(whole, without=["encoders.image"], for_run=True)
    assert found == "12: fusion `concat` joins what encoders give, and there is none | add a table, such as `[encoders.image]`"
    assert load(whole, without=["encoders.image"]).recipe.encoders == {}


def test_a_fusion_may_say_that_it_needs_no_encoders(make_plugin, write, acme, whole) -> None:
    source = '''
from a2a_core import FusionConfig

class Reader(FusionConfig):
    """Reads a text of its own."""
    name = "reader"
    needs_encoders = False
    def build(self, widths): ...
'''
    make_plugin("acme-reader", {"a2a_fusions": {"reader": "acme_reader.parts:Reader"}}, parts=source)
    text = whole.replace('use = "concat"', 'use = "reader"')
    loaded = load_recipe(write(text), Catalog.installed(), (), ["encoders.image"], environ={}, for_run=True)
    assert loaded.recipe.encoders == {}


def test_a_fusion_that_reads_text_wants_a_collator_that_gives_it(make_plugin, write, acme, whole) -> None:
    source = '''
from a2a_core import CollatorConfig, FusionConfig

class Reader(FusionConfig):
    """Reads a text."""
    name = "reader"
    reads_text = True
    def build(self, widths): ...

class Talk(CollatorConfig):
    """Gives one."""
    name = "talk"
    reads_text = True
    def build(self, processors, targets, lengths, text=None, modalities=None): ...
'''
    offers = {"a2a_fusions": {"reader": "acme_reader.parts:Reader"}, "a2a_collators": {"talk": "acme_reader.parts:Talk"}}
    make_plugin("acme-reader", offers, parts=source)
    text = whole.replace('use = "concat"', 'use = "reader"')
    for collator in ("", '\n[collator]\nuse = "pad"\n'):
        with pytest.raises(A2AError, match="fusion `reader` reads text, and the collator gives none"):
            load_recipe(write(text + collator), Catalog.installed(), (), (), environ={}, for_run=True)
    text += '\n[collator]\nuse = "talk"\n'
    load_recipe(write(text), Catalog.installed(), (), (), environ={}, for_run=True)
    with pytest.raises(A2AError, match="no encoder can be called so"):
        load_recipe(write(text + '[encoders.text]\nuse = "dummy"\n'), Catalog.installed(), (), (), environ={}, for_run=True)


def test_only_frozen_tokens_are_kept(problems, load) -> None:
    text = '[encoders.image]\nuse = "patch"\ncache = true\n'
    (found,) = problems(text)
    assert found.startswith("3: `encoders.image.cache = true` needs `freeze = true`")
    assert load(f"{text}freeze = true\n").recipe.encoders["image"].cache is True


def test_a_strangers_own_cache_is_its_own_affair(make_plugin, write, acme) -> None:
    source = '''
from a2a_core import EncoderConfig, option

class Own(EncoderConfig):
    """Keeps what it has decoded."""
    name = "own"
    cache: bool = option("keep decoded pictures", default=False)
    def processor(self): ...
    def build(self): ...
'''
    make_plugin("acme-own", {"a2a_encoders": {"own": "acme_own.parts:Own"}}, parts=source)
    loaded = load_recipe(write('[encoders.image]\nuse = "own"\ncache = true\n'), Catalog.installed(), environ={})
    assert loaded.recipe.encoders["image"].cache is True


def test_a_default_can_dangle_too(make_plugin, write, acme) -> None:
    source = '''
from a2a_core import MetricConfig, option

class Own(MetricConfig):
    """Own."""
    name = "own"
    head: str = option("a head", default="label", refers_to="heads")
    def build(self, head): ...
'''
    make_plugin("acme-own", {"a2a_metrics": {"own": "acme_own.parts:Own"}}, parts=source)
    with pytest.raises(A2AError, match=r"`metrics.m.head`: there is no `\[heads.label\]`"):
        load_recipe(write('[metrics.m]\nuse = "own"\n'), Catalog.installed(), environ={})


def test_projectors_need_their_encoder(problems) -> None:
    text = '[encoders.image]\nuse = "patch"\n[projectors.imgae]\nuse = "linear2"\n'
    assert problems(text) == ["3: projector `imgae` has no encoder | did you mean `image`?"]


@pytest.mark.parametrize("name", ["a.b", "", "_x", "a/b", "1", "a b"])
def test_names_that_modules_cannot_have(problems, name) -> None:
    (found,) = problems(f'[heads."{name}"]\nuse = "classify"\n')
    assert found == f"1: `{name}` cannot be a name in `[heads]` | letters, digits, `-` and `_`, a letter first"


@pytest.mark.parametrize("name", ["image", "my-image", "my_image2", "größe"])
def test_names_that_modules_can_have(load, name) -> None:
    recipe = load(f'[heads."{name}"]\nuse = "classify"\n').recipe
    nn.ModuleDict({key: nn.Identity() for key in recipe.heads})


def test_reserved_names_are_what_torch_refuses(problems) -> None:
    wanted = {name for name in dir(nn.ModuleDict()) if not name.startswith("_")}
    assert wanted | {"size", "smart_apply"} == RESERVED, "transformers gives every module a smart_apply"
    (found,) = problems('[heads.type]\nuse = "classify"\n')
    assert "`type` cannot be a name in `[heads]`: torch's modules have something of that name" in found


def test_require(problems, load) -> None:
    load('[plugins]\nrequire = ["acme-parts>=0.1", "Acme_Parts", "a2a-trainer"]')
    found = problems('[plugins]\nrequire = [\n"acme-parts>=0.2",\n"other",\n"a b",\n3\n]')
    assert found[:2] == [
        '3: the recipe requires acme-parts>=0.2, and acme-parts 0.1.0 is installed | pip install "acme-parts>=0.2"',
        '4: the recipe requires other, which is not installed | pip install "other"',
    ]
    assert found[2].startswith("5: `a b` is no requirement: ")
    assert found[3:] == ["6: `plugins.require.3` must be a string, got an integer, 3 | in quotes?"]


def test_allow_narrows_a_catalog(problems) -> None:
    found = problems('[plugins]\nallow = ["a2a-vision"]\nrequire = ["acme-parts"]')
    assert "3: the recipe requires acme-parts, which `plugins.allow` leaves out" in found
    assert any("unknown trainer `hf`" in each or "trainer `hf` is offered by a2a-hf" in each for each in found)


@pytest.fixture
def others(acme, make_plugin) -> None:
    """Plugins beside acme-parts, one of them with presets."""
    make_plugin("acme-other", {"a2a_heads": {"other": "acme_other.parts:Other"}})
    presets = {"base.toml": 'seed = 5\n[plugins]\nallow = ["acme-parts"]\n', "open.toml": "seed = 6\n"}
    make_plugin("acme-set", {"a2a_presets": {"base": "base.toml", "open": "open.toml"}}, files=presets)
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def imported() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules if name.startswith("acme_")}


def test_only_what_is_allowed_is_imported(others, write) -> None:
    loaded = load_recipe(write('[plugins]\nallow = ["acme-parts"]'), None, environ={})
    assert imported() == {"acme_parts"}
    assert "acme-other" in loaded.catalog.left_out
    load_recipe(write("[plugins]\nallow = []"), None, environ={})
    assert "acme_other" in imported()


def test_a_preset_imports_its_own_plugin_first(others, write) -> None:
    recipe = load_recipe(write('extends = "acme-set:base"'), None, environ={}).recipe
    assert recipe.seed == 5
    assert recipe.plugins.allow == ("acme-parts",)
    assert imported() == {"acme_parts", "acme_set"}


@pytest.mark.parametrize(
    "given", [{}, {"sets": ['plugins.allow=["acme-parts"]']}, {"environ": {"A2A__PLUGINS__ALLOW": '["acme-parts"]'}}]
)
def test_a_preset_of_a_plugin_that_is_not_allowed_is_not_imported(others, write, given) -> None:
    inside = "" if given else '[plugins]\nallow = ["acme-parts"]\n'
    with pytest.raises(A2AError) as caught:
        load_recipe(write('extends = "acme-set:open"\n' + inside), None, **({"environ": {}} | given))
    assert "`extends` names a preset of acme-set, which `plugins.allow` leaves out" in str(caught.value)
    assert "recipe.toml:1" in str(caught.value)
    assert "acme_set" not in imported()


def test_no_more_problems_than_anyone_reads(problems) -> None:
    found = problems("".join(f"x{number} = 1\n" for number in range(20_000)))
    assert len(found) == 101
    assert found[-1] == "-: and more"


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'[encoders.x{number}]\nuse = "pach"\n' for number in range(5000)),
        '[encoders.x]\nuse = "patch"\nmean = [' + '"x", ' * 30_000 + "]\n",
        "[trainer]\n" + "".join(f"[[trainer.groups]]\nsise = {number}\n" for number in range(5000)),
    ],
)
def test_a_flood_of_mistakes_is_no_flood_of_work(problems, text) -> None:
    start = time.process_time()
    assert len(problems(text)) == 101
    assert time.process_time() - start < 10


def test_problems_of_settings_and_files_come_together(load) -> None:
    with pytest.raises(A2AError) as caught:
        load("sed = 1", ["x"], ["y"], environ={"A2A__Z": "1"})
    assert len(caught.value.problems) == 4


def test_loading_imports_nothing_heavy(acme, write, whole, make_plugin) -> None:
    path = write(whole)
    code = (
        "import sys; from pathlib import Path; from a2a_core.recipe import load_recipe;"
        f"load_recipe(Path({str(path)!r}), None, ['plugins.allow=[\"acme-parts\"]'], for_run=True); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(make_plugin.folder)}, check=False
    )
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "transformers", "numpy", "click", "rich", "json", "difflib", "packaging", "importlib.metadata"}
    unused = {"a2a_core.recipe.spans", "a2a_core.recipe.json_schema", "a2a_core.recipe.pages"}
    assert set(done.stdout.split()).isdisjoint(heavy | unused)

"""Plugins can be wrong in every way; each stays its own fault, is explained, and the rest works."""

import subprocess
import sys

import pytest

from a2a_core import A2AError
from a2a_core.plugins import Catalog, Plugin

GOOD = '''
from a2a_core import CallbackConfig, option

class Good(CallbackConfig):
    """Good."""
    name = "good"
    size: int = option("a size", default=1)
    def build(self, job): ...
'''
OFFER = {"a2a_callbacks": {"good": "{}.parts:Good"}}


def offering(package: str) -> dict[str, dict[str, str]]:
    return {"a2a_callbacks": {"good": f"{package}.parts:Good"}}


@pytest.fixture
def good(make_plugin) -> None:
    """One plugin that is well."""
    make_plugin.alone()
    make_plugin("acme-good", offering("acme_good"), parts=GOOD)


def installed(dist: str) -> Plugin:
    return next(plugin for plugin in Catalog.installed().plugins if plugin.dist == dist)


def test_what_is_installed(good, make_plugin) -> None:
    plugin = installed("acme-good")
    assert (plugin.name, plugin.module, plugin.version) == ("acme-good", "acme_good.plugin", "0.1.0")
    assert plugin.location == str(make_plugin.folder)
    assert plugin.offers == {"callback": {"good": "acme_good.parts:Good"}}
    assert plugin.errors == ()
    assert plugin.seconds > 0
    assert "acme_good.parts" not in sys.modules


def test_find_imports_the_class_and_knows_its_owner(good) -> None:
    catalog = Catalog.installed()
    cls = catalog.find("callback", "good")
    assert cls().size == 1
    assert catalog.find("callback", "acme-good:good") is cls
    assert catalog.find("callback", "Acme_Good:good") is cls
    assert catalog.owner(cls).dist == "acme-good"
    assert catalog.qualified(cls) == "acme-good:good"
    assert catalog.names("callback") == ["good"]
    assert catalog.versions()["acme-good"] == "0.1.0"


def test_a_class_that_nobody_offers_has_no_owner(good) -> None:
    cls = Catalog.installed().find("callback", "good")
    stranger = type("Stranger", (cls,), {"__doc__": "Stranger."})
    with pytest.raises(A2AError, match="no installed plugin offers callback `good`"):
        Catalog.installed().owner(stranger)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: invalid syntax (plugin.py, line 1)"),
        ("raise BaseException('gone')", "BaseException: gone"),
        ("raise GeneratorExit", "GeneratorExit: "),
        ("import warnings; warnings.warn('old', DeprecationWarning)", "DeprecationWarning: old"),
    ],
)
def test_broken_imports_stay_their_own(good, make_plugin, source, error) -> None:
    make_plugin("acme-bad", plugin=source)
    bad = installed("acme-bad")
    assert bad.errors == (error,)
    assert bad.offers == {}
    assert "Traceback" in bad.trace
    assert Catalog.installed().find("callback", "good")


def test_ctrl_c_is_no_fault_of_a_plugin(good, make_plugin) -> None:
    make_plugin("acme-bad", plugin="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Catalog.installed()


def test_an_entry_point_to_a_module_that_is_not_there(good, make_plugin) -> None:
    home = make_plugin("acme-bad")
    (home / "plugin.py").unlink()
    assert installed("acme-bad").errors == ("ModuleNotFoundError: No module named 'acme_bad.plugin'",)


HOOK = "from a2a_core import hookimpl\n@hookimpl\n"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (HOOK + "def a2a_encodres(): return {}", "no hook is called `a2a_encodres`: did you mean `a2a_encoders`?"),
        (
            HOOK + "def a2a_encoders(catalog): return {}",
            "`a2a_encoders` takes no arguments, not `catalog`",
        ),
        (HOOK + "def a2a_encoders(): 1 / 0", "`a2a_encoders` fails: ZeroDivisionError: division by zero"),
        (HOOK + "def a2a_encoders(): raise SystemExit", "`a2a_encoders` fails: SystemExit: "),
        (HOOK + "def a2a_encoders(): return None", "`a2a_encoders` must return a mapping name -> place, not NoneType"),
        (HOOK + "def a2a_encoders(): yield 1", "`a2a_encoders` must return a mapping name -> place, not generator"),
        (HOOK + "def a2a_encoders(): return ['x']", "`a2a_encoders` must return a mapping name -> place, not list"),
        (
            HOOK + "def a2a_encoders(): return {1: 'x:Y'}",
            "`a2a_encoders` offers 1, which is no name (letters, digits, `-`, `_`, `.`)",
        ),
        (
            HOOK + "def a2a_encoders(): return {'a:b': 'x:Y'}",
            "`a2a_encoders` offers 'a:b', which is no name (letters, digits, `-`, `_`, `.`)",
        ),
        (
            HOOK + "def a2a_encoders(): return {'a': int}",
            "`a2a_encoders` offers `a` at <class 'int'>, which is no `package.module:Name`",
        ),
        (
            HOOK + "def a2a_encoders(): return {'a': 'x.Y'}",
            "`a2a_encoders` offers `a` at 'x.Y', which is no `package.module:Name`",
        ),
        (HOOK + "def a2a_presets(): return {'a': 'a.json'}", "`a2a_presets` offers `a` at 'a.json', which is no `.toml` file"),
        ("def a2a_encoders(): return {}", "`a2a_encoders` lacks `@hookimpl`"),
    ],
)
def test_wrong_hooks_are_explained_and_the_others_count(good, make_plugin, source, error) -> None:
    make_plugin("acme-bad", plugin=HOOK + "def a2a_heads(): return {'fine': 'acme_bad.parts:Fine'}\n" + source)
    bad = installed("acme-bad")
    assert bad.errors == (error,)
    assert bad.offers == {"head": {"fine": "acme_bad.parts:Fine"}}


def test_one_wrong_entry_of_a_hook_leaves_the_others(good, make_plugin) -> None:
    make_plugin("acme-bad", {"a2a_heads": {"fine": "acme_bad.parts:Fine", "bad": "nowhere"}})
    assert installed("acme-bad").offers == {"head": {"fine": "acme_bad.parts:Fine"}}


def component(body: str = "", base: str = "CallbackConfig", name: str = "good", doc: str = '"""Good."""') -> str:
    return f"""
from __future__ import annotations
from pathlib import Path
from a2a_core import *
class Good({base}):
    {doc}
    name = "{name}"
    {body}
    def build(self, *given): ...
"""


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", "fails to load: AttributeError: module 'acme_bad.parts' has no attribute 'Good'"),
        ("import nowhere", "fails to load: ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(1)", "fails to load: SystemExit: 1"),
        ("Good = 3", "is no CallbackConfig"),
        (component(base="HeadConfig"), "is no CallbackConfig"),
        (component(name="other"), "calls itself `other`: its `name` must be `good`"),
        (component(doc=""), "has no docstring: it is the reference page"),
        (component("size: int = 3"), "has an option `size` that is declared without `option(...)`"),
        (component("use: int = option('x', default=3)"), "has an option `use` whose name is taken"),
        (component("x: float = option('x', default=float('inf'))"), "has an option `x` whose default is not finite"),
        (
            component("x: Path = option('x', default=Path('a'))"),
            "has an option `x` whose default is a relative path: relative to what?",
        ),
        (
            component("x: Tensor = option('x', default=None)"),
            "has a type that cannot be resolved: name 'Tensor' is not defined",
        ),
        (
            component("x: bytes = option('x', default=b'')"),
            "has an option `x` that no recipe can set: TOML cannot express bytes",
        ),
        (component("x: list = option('x', default=[])"), "has an option `x` that no recipe can set: TOML cannot express list"),
        (
            component("x: dict[int, int] = option('x', default={})"),
            "that no recipe can set: TOML cannot express dict[int, int]",
        ),
        (component().replace("def build", "def rebuild"), "does not define `build`"),
    ],
)
def test_wrong_classes_are_explained(good, make_plugin, source, error) -> None:
    make_plugin("acme-bad", {"a2a_callbacks": {"good": "acme_bad.parts:Good"}}, parts=source)
    catalog = Catalog.installed()
    with pytest.raises(A2AError) as caught:
        catalog.find("callback", "acme-bad:good")
    assert "callback `good` of acme-bad 0.1.0 (`acme_bad.parts:Good`) " in str(caught.value)
    assert error in str(caught.value)
    assert catalog.find("callback", "acme-good:good")


def test_a_clash_is_an_error_with_the_qualified_names(good, make_plugin) -> None:
    make_plugin("acme-other", offering("acme_other"), parts=GOOD)
    catalog = Catalog.installed()
    with pytest.raises(A2AError) as caught:
        catalog.find("callback", "good")
    assert caught.value.problems[0].message == "callback `good` is offered by acme-good and acme-other"
    assert caught.value.problems[0].hint == 'write `use = "acme-good:good"` or `use = "acme-other:good"`'
    assert catalog.names("callback") == ["acme-good:good", "acme-other:good"]
    assert catalog.find("callback", "acme-good:good") is not catalog.find("callback", "acme-other:good")


def test_two_plugins_of_one_distribution_cannot_offer_the_same(good, make_plugin) -> None:
    home = make_plugin("acme-two", offering("acme_two"), parts=GOOD)
    (home / "again.py").write_text((home / "plugin.py").read_text())
    info = home.parent / "acme_two-0.1.0.dist-info"
    (info / "entry_points.txt").write_text("[a2a.plugins]\none = acme_two.plugin\ntwo = acme_two.again\n")
    one, two = (plugin for plugin in Catalog.installed().plugins if plugin.dist == "acme-two")
    assert one.errors == ()
    assert two.errors == ("offers callback `good`, as `one` of the same distribution does",)
    assert Catalog.installed().find("callback", "acme-two:good")


def test_entry_points_of_the_same_name_live_side_by_side(good, make_plugin) -> None:
    make_plugin("acme-same", {"a2a_heads": {"a": "acme_same.parts:A"}}, name="acme-good")
    assert {plugin.dist for plugin in Catalog.installed().plugins if plugin.name == "acme-good"} == {"acme-good", "acme-same"}


def test_unknown_names_get_a_suggestion(good) -> None:
    with pytest.raises(A2AError) as caught:
        Catalog.installed().find("callback", "god")
    assert caught.value.problems[0].message == "unknown callback `god`"
    assert caught.value.problems[0].hint == "did you mean `good`?"


def test_known_components_say_what_to_install(good) -> None:
    with pytest.raises(A2AError) as caught:
        Catalog.installed().find("encoder", "patch")
    assert caught.value.problems[0].message == "encoder `patch` is offered by a2a-vision, which is not installed"
    assert caught.value.problems[0].hint == "pip install a2a-vision"


def test_known_components_of_a_broken_plugin(good, make_plugin, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "a2a_vision"]:
        monkeypatch.delitem(sys.modules, name)  # the real one, which other tests import
    make_plugin("a2a-vision", plugin="raise ValueError('bad wheel')", name="vision")
    with pytest.raises(A2AError) as caught:
        Catalog.installed().find("encoder", "patch")
    assert "a2a-vision 0.1.0, which fails to load: ValueError: bad wheel" in caught.value.problems[0].message
    assert caught.value.problems[0].hint == "see `a2a plugins doctor vision`"


def test_unknown_components_name_broken_plugins(good, make_plugin) -> None:
    make_plugin("acme-bad", plugin="1 / 0")
    with pytest.raises(A2AError, match=r"acme-bad: broken, see `a2a plugins doctor`"):
        Catalog.installed().find("callback", "special")


def test_what_is_not_allowed_is_not_imported(good, make_plugin) -> None:
    make_plugin("acme-other", {"a2a_heads": {"other": "acme_other.parts:Other"}}, name="other")
    catalog = Catalog.installed(frozenset({"acme-good"}))
    assert "acme_other.plugin" not in sys.modules
    assert catalog.left_out == ("acme-other",)
    with pytest.raises(A2AError, match=r"unknown head `other`[^`]*`plugins.allow` leaves out acme-other"):
        catalog.find("head", "other")
    with pytest.raises(A2AError, match=r"head `other` is offered by acme-other, which `plugins.allow` leaves out"):
        catalog.find("head", "acme-other:other")
    assert [plugin.dist for plugin in Catalog.installed(frozenset({"other"})).plugins if plugin.name != "core"] == [
        "acme-other"
    ]
    assert [plugin.dist for plugin in Catalog.installed().narrowed(frozenset({"other"})).plugins if plugin.name != "core"] == [
        "acme-other"
    ]


def test_the_core_is_always_allowed(make_plugin) -> None:
    make_plugin.alone()
    assert Catalog.installed(frozenset({"x"})).find("collator", "pad")


def test_printing_at_import_does_not_reach_the_output(good, make_plugin, capsys) -> None:
    make_plugin("acme-loud", plugin="print('hello')\n" + HOOK + "def a2a_heads():\n    print('there')\n    return {}")
    assert installed("acme-loud").errors == ()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\nthere\n"


def test_heavy_imports_are_recorded(good, make_plugin, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    (make_plugin.folder / "torch.py").write_text("import time\ntime.sleep(0.02)\n")
    make_plugin("acme-slow", plugin="import torch")
    plugin = installed("acme-slow")
    assert plugin.slow == ("torch",)
    assert plugin.seconds > 0.02


def test_presets(good, make_plugin) -> None:
    make_plugin("acme-set", {"a2a_presets": {"base": "base.toml", "gone": "gone.toml"}}, files={"base.toml": ""})
    catalog = Catalog.installed()
    assert catalog.preset("acme-set:base") == make_plugin.folder / "acme_set" / "base.toml"
    with pytest.raises(
        A2AError, match=r"preset `acme-set:gone` of acme-set 0.1.0 should be at .*gone.toml, which is not there"
    ):
        catalog.preset("acme-set:gone")
    with pytest.raises(A2AError, match="unknown preset `acme-set:bsae`"):
        catalog.preset("acme-set:bsae")
    with pytest.raises(A2AError, match="preset `x` is offered by nobody, which is not installed"):
        catalog.preset("nobody:x")


def test_commands_that_clash_are_qualified(good, make_plugin) -> None:
    make_plugin("acme-one", {"a2a_commands": {"report": "acme_one.cli:report", "one": "acme_one.cli:one"}})
    make_plugin("acme-two", {"a2a_commands": {"report": "acme_two.cli:report"}})
    assert Catalog.installed().commands() == {
        "acme-one:report": "acme_one.cli:report",
        "one": "acme_one.cli:one",
        "acme-two:report": "acme_two.cli:report",
    }


def test_looking_at_plugins_imports_nothing_heavy() -> None:
    code = "import a2a_core.plugins, sys; a2a_core.plugins.Catalog.installed(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint(
        {"torch", "transformers", "numpy", "click", "rich", "cattrs", "importlib.metadata", "difflib", "json"}
    )

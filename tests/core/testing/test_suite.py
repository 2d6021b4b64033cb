"""A distribution's suite: for pytest, for the shell, and for what cannot be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from a2a_core import A2AError
from a2a_core.builtin.linear import LinearProjector
from a2a_core.components import KINDS
from a2a_core.plugins import Catalog
from a2a_core.testing import CheckFailed, NotApplicable, checks, run_suite, suite
from a2a_core.testing.suite import BY_KIND, STREAMS, of_distribution

PARTS = '''
from a2a_core import BackendConfig, ProjectorConfig

class Backend(BackendConfig):
    """Does nothing, for tests."""

    name = "nothing"

class Projector(ProjectorConfig):
    """Maps tokens, and forgets their place."""

    name = "forgetful"

    def build(self, width, out):
        from acme_parts.module import Module
        return Module(width, out)
'''
MODULE = """
from torch import nn
from a2a_core import Tokens

class Module(nn.Linear):
    def forward(self, tokens):
        return Tokens(super().forward(tokens.values), tokens.mask)
"""


@pytest.fixture
def acme(make_plugin: Any) -> Any:
    make_plugin.alone()
    hooks = {
        "a2a_backends": {"nothing": "acme_parts.parts:Backend", "gone": "acme_parts.parts:Gone"},
        "a2a_projectors": {"forgetful": "acme_parts.parts:Projector"},
    }
    make_plugin("acme-parts", hooks, name="acme", parts=PARTS, module=MODULE)
    return make_plugin


def test_every_check_is_documented_and_named_once() -> None:
    assert BY_KIND.keys() <= KINDS.keys()
    for _, invariants in [*BY_KIND.values(), STREAMS]:
        names = [invariant.__name__ for invariant in invariants]
        assert len(names) == len(set(names))
        for invariant in invariants:
            assert len((invariant.__doc__ or "").splitlines()[0]) > 20, invariant


@pytest.mark.parametrize("name", ["acme-parts", "acme", "Acme_Parts"])
def test_everything_of_a_distribution_is_checked(acme: Any, name: str) -> None:
    found = {(result.component, result.check): result for result in run_suite(name, Catalog.installed())}
    failed = {key for key, result in found.items() if not result.passed and not result.skipped}
    assert failed == {("backend:gone", "loads"), ("projector:forgetful", "tokens_are_well_formed")}
    assert "Gone" in found["backend:gone", "loads"].message
    assert "row, slot or slots" in found["projector:forgetful", "tokens_are_well_formed"].message
    assert found["projector:forgetful", "refills_its_buffers"].skipped
    assert found["plugin:acme", "loads"].passed
    assert found["backend:nothing", "imports_nothing_heavy"].passed


def test_a_plugin_that_cannot_be_imported_is_one_failure(make_plugin: Any) -> None:
    make_plugin.alone()
    make_plugin("acme-broken", plugin="raise RuntimeError('of all things')")
    results = run_suite("acme-broken", Catalog.installed())
    assert [result.check for result in results] == ["loads"]
    assert "of all things" in results[0].message


def test_a_plugin_module_that_imports_torch_is_caught(make_plugin: Any) -> None:
    make_plugin.alone()
    make_plugin(
        "acme-heavy", plugin="import torch\nfrom a2a_core import hookimpl\n\n@hookimpl\ndef a2a_heads():\n    return {}\n"
    )
    results = run_suite("acme-heavy", Catalog.installed())
    assert [result.passed for result in results] == [False]
    assert "plugin.py:1: import torch" in results[0].message


def test_presets_and_commands_are_loaded(make_plugin: Any) -> None:
    make_plugin.alone()
    hooks = {
        "a2a_presets": {"good": "good.toml", "broken": "broken.toml", "missing": "missing.toml"},
        "a2a_commands": {"run": "acme_more.plugin:a2a_presets", "walk": "acme_more.plugin:walk"},
    }
    make_plugin("acme-more", hooks, files={"good.toml": "seed = 1\n", "broken.toml": "seed = \n"})
    found = {result.component: result for result in run_suite("acme-more", Catalog.installed())}
    assert {name for name, result in found.items() if not result.passed} == {"preset:broken", "preset:missing", "command:walk"}
    assert "TOMLDecodeError" in found["preset:broken"].message
    assert "which is not there" in found["preset:missing"].message
    assert "AttributeError" in found["command:walk"].message


def test_a_distribution_that_is_not_installed_says_so() -> None:
    with pytest.raises(A2AError, match=r"no plugin `acme-nowhere` is installed here"):
        of_distribution("acme-nowhere", Catalog.installed())


def test_one_component_with_options_of_the_authors_choice() -> None:
    every = checks(LinearProjector(bias=False))
    assert {"padding_is_invisible", "survives_toml", "is_documented"} <= {str(check) for check in every}
    results = [check.result() for check in every]
    assert {result.component for result in results} == {"projector:linear"}
    assert all(result.passed or result.skipped for result in results)


def test_a_check_is_a_test(acme: Any) -> None:
    every = {(check.subject.label, str(check)): check for check in of_distribution("acme-parts", Catalog.installed())}
    every["projector:forgetful", "padding_is_invisible"]()
    with pytest.raises(CheckFailed, match="row, slot or slots"):
        every["projector:forgetful", "tokens_are_well_formed"]()
    with pytest.raises(pytest.skip.Exception, match="every buffer is saved"):
        every["projector:forgetful", "refills_its_buffers"]()
    with pytest.raises(NotApplicable, match="every buffer is saved"):
        every["projector:forgetful", "refills_its_buffers"].run()


test_core = suite("a2a-trainer")


def test_three_lines_are_a_plugins_tests(acme: Any, tmp_path: Path) -> None:
    test = tmp_path / "test_plugin.py"
    test.write_text('from a2a_core.testing import suite\n\ntest_plugin = suite("acme-parts")\n')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(test)]
    done = subprocess.run(
        [*command, "-k", "loads or tokens_are_well_formed or nothing"],
        env={"PYTHONPATH": str(acme.folder), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "test_plugin[projector:forgetful-tokens_are_well_formed]" in done.stdout
    assert "row, slot or slots of the tokens got lost" in done.stdout
    assert "2 failed" in done.stdout


def test_pytest_is_not_needed() -> None:
    script = (
        "import sys; sys.modules['pytest'] = None; sys.modules['_pytest'] = None\n"
        "from a2a_core.plugins import Catalog\nfrom a2a_core.testing import run_suite\n"
        "print(sum(result.passed for result in run_suite('a2a-trainer', Catalog.installed())))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20

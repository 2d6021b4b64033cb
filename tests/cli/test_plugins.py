import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner

from a2a_cli.main import a2a

BROKEN = "raise ValueError('not today')\n"


@pytest.fixture
def rainy(acme):
    """Beside `acme-parts`: a plugin that raises, one with broken classes, one that imports what is heavy."""
    acme("acme-broken", plugin=BROKEN)
    bad = "from a2a_core import EncoderConfig\nclass NoDoc(EncoderConfig):\n    name = 'nodoc'\n"
    acme(
        "acme-half",
        {"a2a_encoders": {"gone": "acme_half.gone:Gone", "nodoc": "acme_half.bad:NoDoc"}, "a2a_presets": {"base": "base.toml"}},
        bad=bad,
        gone="import nothing_of_that_name\n",
        files={"base.toml": "not = = toml"},
    )
    acme("acme-heavy", plugin="import numpy\nimport time\ntime.sleep(0.12)\n")
    return acme


def test_list_shows_what_each_offers_and_where_it_comes_from(acme, run) -> None:
    result = run("plugins", "list")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["acme-parts", "0.1.0", str(acme.folder)] in lines
    assert ["encoders", "ear,", "eye"] in lines
    assert ["losses", "miss"] in lines
    assert lines[0][:2] == ["a2a-trainer", version("a2a-trainer")]


def test_list_imports_no_component(acme, run) -> None:
    run("plugins", "list")
    assert "acme_parts.plugin" in sys.modules
    assert "acme_parts.parts" not in sys.modules


def test_list_marks_the_broken_and_the_clashing(rainy, run) -> None:
    rainy("acme-eye", {"a2a_encoders": {"eye": "acme_eye.parts:Eye"}})
    result = run("plugins", "list")
    assert result.exit_code == 0
    assert "broken: ValueError: not today" in result.output
    assert "see `a2a plugins doctor acme-broken`" in result.output
    clash = "encoder `eye` is offered by acme-eye and acme-parts: write `acme-eye:eye` or `acme-parts:eye`"
    assert clash in result.output


def test_list_for_machines(rainy, run) -> None:
    found = {each["distribution"]: each for each in json.loads(run("plugins", "list", "--json").stdout)}
    assert found["acme-parts"]["version"] == "0.1.0"
    assert found["acme-parts"]["offers"]["metrics"] == ["errors", "hits"]
    assert found["acme-parts"]["errors"] == []
    assert found["acme-broken"]["errors"] == ["ValueError: not today"]


def test_show_a_component(acme, run) -> None:
    for name in ("eye", "acme-parts:eye"):
        result = run("plugins", "show", name)
        assert result.exit_code == 0
        assert "Pictures to tokens." in result.output
        assert "channels of a token" in result.output
        assert "Sounds" not in result.output


def test_show_a_plugin_shows_all_of_it(acme, run) -> None:
    result = run("plugins", "show", "acme_parts")
    assert result.exit_code == 0
    for text in ("acme-parts 0.1.0", "Pictures to tokens.", "Step by step.", "How often wrong."):
        assert text in result.output


def test_show_all_of_several_matches(acme, run) -> None:
    source = (
        "from a2a_core import HeadConfig\nclass Eye(HeadConfig):\n    'Sees.'\n    name = 'eye'\n    def build(self, s): ...\n"
    )
    acme("acme-eye", {"a2a_heads": {"eye": "acme_eye.parts:Eye"}, "a2a_commands": {"eye": "acme_eye.cli:eye"}}, parts=source)
    found = json.loads(run("plugins", "show", "eye", "--json").stdout)
    assert {(each["kind"], each["use"]) for each in found} == {
        ("encoder", "acme-parts:eye"),
        ("head", "acme-eye:eye"),
        ("command", "acme-eye:eye"),
    }
    assert "Sees." in run("plugins", "show", "eye").output


def test_show_explains_what_cannot_be_imported(rainy, run) -> None:
    result = run("plugins", "show", "acme-half")
    assert result.exit_code == 0
    assert "No module named 'nothing_of_that_name'" in result.output
    assert "preset `acme-half:base`" in result.output


def test_show_suggests(acme, run) -> None:
    result = run("plugins", "show", "eyes")
    assert result.exit_code == 2
    assert "did you mean `eye`?" in result.stderr


def test_show_on_a_terminal(acme, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(SystemExit):
        a2a(["plugins", "show", "eye"])
    shown = capsys.readouterr().out
    assert "channels of a token" in shown
    assert "|---|" not in shown


def test_doctor_finds_nothing(acme, run) -> None:
    result = run("plugins", "doctor", "acme-parts")
    assert result.exit_code == 0
    assert result.output == "acme-parts 0.1.0  well\n\nall is well\n"


def test_doctor_shows_what_is_broken_with_its_traceback(rainy, run) -> None:
    result = run("plugins", "doctor")
    assert result.exit_code == 1
    assert "ValueError: not today" in result.output
    assert "Traceback" in result.output
    assert "encoder `nodoc` of acme-half 0.1.0 (`acme_half.bad:NoDoc`) has no docstring" in result.output
    assert "    import nothing_of_that_name" in result.output
    assert "preset `base` of acme-half 0.1.0 cannot be read" in result.output
    assert "acme-parts 0.1.0  well" in result.output
    assert result.output.rstrip().endswith("2 plugins of 5 broken")


def test_doctor_names_what_is_slow(rainy, run) -> None:
    result = run("plugins", "doctor", "acme-heavy", "--json")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)
    assert found["broken"] == []
    assert len(found["slow"]) == 1
    assert "brings in numpy" in found["slow"][0]


def test_doctor_survives_what_ends_the_interpreter(acme, run) -> None:
    acme("acme-crash", {"a2a_encoders": {"crash": "acme_crash.parts:Crash"}}, parts="import os\nos._exit(7)\n")
    acme("acme-cli", {"a2a_commands": {"paint": "acme_cli.cli:paint"}}, cli="paint = 3\n")
    result = run("plugins", "doctor")
    assert result.exit_code == 1
    assert "importing it ends the interpreter (exit code 7)" in result.output
    assert "command `paint` of acme-cli 0.1.0 (`acme_cli.cli:paint`) is no click command" in result.output


def test_doctor_and_test_suggest(acme, run) -> None:
    for command in ("doctor", "test"):
        result = run("plugins", command, "acme-part")
        assert result.exit_code == 2
        assert "did you mean `acme-parts`?" in result.stderr


LEAKY = '''
from a2a_core import ProjectorConfig

class Leaky(ProjectorConfig):
    """A linear layer that adds the mean of the batch."""
    name = "leaky"
    def build(self, width, out):
        from acme_leaky.module import Linear
        return Linear(width, out)
'''
MODULE = """
from torch import nn

class Linear(nn.Linear):
    def forward(self, tokens):
        values = super().forward(tokens.values)
        return tokens._replace(values=values + values.mean(0, keepdim=True))
"""


def test_test_runs_the_kit(acme, run) -> None:
    acme("acme-leaky", {"a2a_projectors": {"leaky": "acme_leaky.parts:Leaky"}}, parts=LEAKY, module=MODULE)
    result = run("plugins", "test", "acme-leaky", "--json")
    assert result.exit_code == 1
    outcomes = {each["check"]: each for each in json.loads(result.stdout)}
    assert not outcomes["neighbours_are_invisible"]["passed"]
    assert outcomes["gradient_reaches_every_parameter"]["passed"]
    people = run("plugins", "test", "acme-leaky")
    assert people.exit_code == 1
    lines = [line.split() for line in people.output.splitlines()]
    assert ["failed", "projector:leaky", "neighbours_are_invisible"] in lines
    assert ["passed", "plugin:acme-leaky", "loads"] in lines
    assert outcomes["neighbours_are_invisible"]["message"] in people.output
    assert f"{len(outcomes)} checks, " in people.output


def test_test_passes_what_is_well(run) -> None:
    result = run("plugins", "test", "a2a-trainer")
    assert result.exit_code == 0
    assert result.output.rstrip().endswith(" 0 failed")


def test_new_writes_a_package_and_says_what_next(tmp_path: Path, run) -> None:
    result = run("plugins", "new", "heart-rate", "--into", tmp_path, "--modality", "pulse")
    assert result.exit_code == 0
    root = tmp_path / "a2a-heart-rate"
    assert tomli.loads((root / "pyproject.toml").read_text())["project"]["name"] == "a2a-heart-rate"
    assert 'modality = "pulse"' in (root / "src/a2a_heart_rate/window.py").read_text()
    assert f"cd {root}" in result.output
    assert "a2a plugins test a2a-heart-rate" in result.output


def test_new_refuses_what_exists(acme, tmp_path: Path, run) -> None:
    for name, reason in (("eye", "encoder `eye` already, in acme-parts"), ("vision", "a plugin a2a-vision already")):
        result = run("plugins", "new", name, "--into", tmp_path / "made")
        assert result.exit_code == 2
        assert reason in result.stderr
    assert not (tmp_path / "made").exists()


def test_list_in_a_process_of_its_own(acme) -> None:
    command = [sys.executable, "-m", "a2a_cli.main", "plugins", "list", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "acme-parts" in {each["distribution"] for each in json.loads(done.stdout)}


def test_output_is_plain_without_a_terminal(rainy) -> None:
    assert "\x1b[" not in CliRunner().invoke(a2a, ["plugins", "list"]).output

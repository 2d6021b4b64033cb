import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from a2a_cli.main import COMMANDS, a2a
from a2a_core.errors import A2AError, Problem, RunFailed

A2A = [sys.executable, "-m", "a2a_cli.main"]
COMMAND = """
import click
@click.command()
@click.option("--{word}")
def detect({word}):
    "Detect things."
    click.echo("detected {word}")
"""


def shell(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*A2A, *arguments], capture_output=True, text=True, env={**os.environ, **variables}, check=False)


def test_help_lists_every_command_with_its_short_help(make_plugin) -> None:
    make_plugin.alone()
    result = CliRunner().invoke(a2a, ["--help"])
    assert result.exit_code == 0
    for name, (_, short) in COMMANDS.items():
        assert f"  {name} " in result.output
        assert short in result.output
    assert "_A2A_COMPLETE=bash_source a2a" in result.output
    assert "Commands of plugins" not in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_lies_where_it_is_said_to(name: str) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"], ["runs", "list"], ["check", "none.toml"]])
def test_what_can_do_without_torch_imports_neither_it_nor_rich(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from a2a_cli.main import a2a\n"
        f"try: a2a({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'rich', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.splitlines()[-1] == "[]"


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom a2a_cli.main import a2a\n"
        "try: a2a(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('train', 'check', 'runs', 'plugins') if 'a2a_cli.' + name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    result = CliRunner().invoke(a2a, ["--version"], prog_name="a2a")
    assert result.exit_code == 0
    assert result.output.startswith("a2a 0.")


def test_a_misspelt_command_gets_a_suggestion(make_plugin) -> None:
    make_plugin.alone()
    make_plugin("acme-detect", {"a2a_commands": {"detect": "acme_detect.cli:detect"}})
    for typed, meant in (("trian", "train"), ("detct", "detect")):
        result = CliRunner().invoke(a2a, [typed])
        assert result.exit_code == 2
        assert f"No such command '{typed}'. Did you mean '{meant}'?" in result.stderr
    assert CliRunner().invoke(a2a, ["plugins", "lst"]).stderr.rstrip().endswith("Did you mean 'list'?")


def test_a_command_that_is_not_there_may_be_of_a_broken_plugin(make_plugin) -> None:
    make_plugin.alone()
    make_plugin("acme-detect", plugin="import nothing_of_that_name\n")
    result = CliRunner().invoke(a2a, ["detect"])
    assert result.exit_code == 2
    assert "acme-detect failed to load: see `a2a plugins doctor`" in result.stderr


def test_usage_errors_exit_with_2() -> None:
    result = CliRunner().invoke(a2a, ["check"])
    assert result.exit_code == 2
    assert "Missing argument" in result.stderr


def test_a_plugins_command_is_listed_without_being_imported_and_runs(make_plugin) -> None:
    make_plugin.alone()
    make_plugin("acme-detect", {"a2a_commands": {"detect": "acme_detect.cli:detect"}}, cli=COMMAND.format(word="things"))
    result = CliRunner().invoke(a2a, ["--help"])
    assert "  detect  from acme-detect 0.1.0" in result.output
    assert "acme_detect.cli" not in sys.modules
    result = CliRunner().invoke(a2a, ["detect"])
    assert result.output == "detected things\n"
    assert "Detect things." in CliRunner().invoke(a2a, ["detect", "--help"]).output


def test_names_that_clash_are_qualified(make_plugin) -> None:
    make_plugin.alone()
    for dist, word in (("acme-one", "one"), ("acme-two", "two")):
        offers = {"detect": f"{dist.replace('-', '_')}.cli:detect", "train": f"{dist.replace('-', '_')}.cli:detect"}
        make_plugin(dist, {"a2a_commands": offers}, cli=COMMAND.format(word=word))
    assert CliRunner().invoke(a2a, ["acme-two:detect"]).output == "detected two\n"
    assert CliRunner().invoke(a2a, ["acme-one:train"]).output == "detected one\n"
    result = CliRunner().invoke(a2a, ["detect"])
    assert result.exit_code == 2
    assert "Write `acme-one:detect` or `acme-two:detect`." in result.stderr
    assert "Train any" not in CliRunner().invoke(a2a, ["train", "--help"]).output


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("detect = 3", "is no click command"),
        ("", "AttributeError"),
    ],
)
def test_a_plugins_broken_command_is_explained(make_plugin, source: str, reason: str) -> None:
    make_plugin("acme-detect", {"a2a_commands": {"detect": "acme_detect.cli:detect"}}, cli=source)
    result = CliRunner().invoke(a2a, ["detect"])
    assert result.exit_code == 2
    assert "acme-detect 0.1.0" in result.stderr
    assert reason in result.stderr
    assert "Traceback" not in result.output


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):
    """Make `a2a check x` raise."""

    def install(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("a2a_cli.check.load_recipe", fail)

    return install


def test_an_error_shows_all_its_problems_and_sets_the_exit_code(raising) -> None:
    raising(A2AError([Problem("one"), Problem("two", hint="do this")]))
    result = CliRunner().invoke(a2a, ["check", "x"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: one\n\nerror: two\n  help: do this\n\n2 errors\n"


def test_a_failed_run_exits_with_1(raising) -> None:
    raising(RunFailed("no space left"))
    result = CliRunner().invoke(a2a, ["check", "x"])
    assert result.exit_code == 1
    assert result.stderr == "error: no space left\n"


def test_ctrl_c_is_said_and_exits_with_1(raising) -> None:
    raising(KeyboardInterrupt())
    result = CliRunner().invoke(a2a, ["check", "x"])
    assert result.exit_code == 1
    assert result.stderr == "\ninterrupted\n"


@pytest.mark.parametrize("error", [EOFError("short file"), BrokenPipeError(32, "a worker died")])
def test_what_click_would_hide_is_not_hidden(raising, error: Exception) -> None:
    raising(error)
    result = CliRunner().invoke(a2a, ["check", "x"])
    assert isinstance(result.exception, RuntimeError)
    assert type(error).__name__ in str(result.exception)


def test_a_reader_that_left_between_two_lines_is_no_bug(tmp_path: Path) -> None:
    code = "import click, sys, time\nfrom a2a_cli import check, main\n"
    code += "def say(*_, **__): click.echo('one'); time.sleep(1); click.echo('two')\n"
    code += "sys.argv = ['a2a', 'check', 'x']\ncheck.check.callback = say\nmain.main()\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "one\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_an_unexpected_exception_keeps_its_traceback_and_asks_for_a_report(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['a2a', 'check', 'my recipe.toml']\n"
        "from a2a_cli import check, main\n"
        "def fail(*_, **__): raise ZeroDivisionError('oh')\n"
        "check.load_recipe = fail\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[0].startswith("Traceback")
    assert "ZeroDivisionError: oh" in lines
    assert lines[-1].endswith("a2a check 'my recipe.toml'")
    assert "report it" in lines[-1]


def answer_interrupts() -> None:
    """As in a terminal; what a shell starts in the background ignores them, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_in_a_terminal(make_plugin) -> None:
    source = "import click, time\n@click.command()\ndef wait():\n    click.echo('waiting')\n    time.sleep(60)\n"
    make_plugin("acme-wait", {"a2a_commands": {"wait": "acme_wait.cli:wait"}}, cli=source)
    environment = {**os.environ, "PYTHONPATH": str(make_plugin.folder)}
    with subprocess.Popen(
        [*A2A, "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=answer_interrupts,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "\ninterrupted\n"
    assert process.returncode == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen([*A2A, "recipe", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait()


def test_no_colour_for_those_who_want_none(raising) -> None:
    raising(A2AError("one"))
    assert "\x1b[" in CliRunner().invoke(a2a, ["check", "x"], color=True).stderr
    assert "\x1b[" not in CliRunner().invoke(a2a, ["check", "x"], color=True, env={"NO_COLOR": "1"}).stderr


def completions(words: str, folder: Path | None = None, **variables: str) -> list[str]:
    """What bash would offer; the last word is the one being typed."""
    environment = {"_A2A_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), **variables}
    code = "from a2a_cli.main import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **environment})
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_complete(make_plugin) -> None:
    make_plugin("acme-p", {"a2a_commands": {"paint": "acme_p.cli:paint"}}, cli="raise SystemExit")
    found = completions("a2a p", PYTHONPATH=str(make_plugin.folder))
    assert found == ["plain,plugins", "plain,predict", "plain,paint"]
    completions("a2a paint --", PYTHONPATH=str(make_plugin.folder))
    assert completions("a2a plugins do") == ["plain,doctor"]
    assert completions("a2a check --js") == ["plain,--json"]
    assert completions("a2a --ver") == ["plain,--version"]


def test_recipes_complete(tmp_path: Path) -> None:
    for name in ("recipe.toml", "readme.md", "examples/digits/recipe.toml", ".hidden/recipe.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert completions("a2a check ", tmp_path) == ["plain,examples/digits/recipe.toml", "plain,recipe.toml"]
    assert completions("a2a train ex", tmp_path) == ["plain,examples/digits/recipe.toml"]
    assert completions("a2a check examples/d", tmp_path) == ["plain,examples/digits/recipe.toml"]
    assert completions("a2a recipe fill nothing", tmp_path) == ["file,nothing"]


def test_plugins_and_runs_complete(tmp_path: Path, make_plugin) -> None:
    make_plugin("acme-p", {"a2a_encoders": {"acme-eye": "acme_p.eye:Eye"}})
    (tmp_path / "runs" / "digits-1").mkdir(parents=True)
    (tmp_path / "runs" / "digits-1" / "run.json").write_text("{}")
    path = str(make_plugin.folder)
    assert completions("a2a plugins doctor acm", PYTHONPATH=path) == ["plain,acme-p"]
    assert completions("a2a plugins show acme-e", PYTHONPATH=path) == ["plain,acme-eye"]
    assert completions("a2a runs show dig", tmp_path) == ["plain,digits-1"]
    assert completions("a2a runs show dig", tmp_path / "runs") == ["dir,dig"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "a2a"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from a2a_cli.main import main; main()" "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_A2A_COMPLETE=bash_source a2a)"\n'
        "COMP_WORDS=(a2a plugins li); COMP_CWORD=2; _a2a_completion a2a; echo ${COMPREPLY[@]}; complete -p a2a"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.splitlines() == ["list", "complete -o nosort -F _a2a_completion a2a"]

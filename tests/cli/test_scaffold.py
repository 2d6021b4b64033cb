import subprocess
import sys
from pathlib import Path

import pytest

import a2a_cli
from a2a_cli.scaffold import FILES, scaffold
from a2a_core.errors import A2AError

ROOT = Path(a2a_cli.__file__).parent.parent
MYPY = """\
[mypy]
strict = true
disallow_subclassing_any = false
mypy_path = {path}
[mypy-a2a_core.*]
follow_imports = silent
[mypy-torch.*,transformers.*]
follow_imports = skip
"""
LONG = "abcdefghijklmno-qrstuvwxyz-01234"


def tool(*command: str | Path, cwd: Path) -> str:
    """What a tool says; empty when it is content."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=cwd, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", ["ab", "heart-rate", LONG])
@pytest.mark.parametrize("width", [88, 128])
def test_what_is_written_is_clean(tmp_path: Path, name: str, width: int) -> None:
    root, *files = scaffold(name, tmp_path)
    assert len(files) == len(FILES)
    assert all(path.is_file() for path in files)
    line = f"--config=line-length={width}"
    assert tool("ruff", "format", "--check", line, ".", cwd=root) == ""
    assert tool("ruff", "check", line, "--extend-select=B,D1,F,I,N,PT,RET,RUF,SIM,TID,UP", "--ignore=D107", ".", cwd=root) == ""


def test_what_is_written_is_typed(tmp_path: Path) -> None:
    """With torch as it is mypy takes a minute; without, it checks what the plugin and a2a say to one another."""
    root, *_ = scaffold("heart-rate", tmp_path)
    settings = tmp_path / "mypy.ini"
    settings.write_text(MYPY.format(path=f"{ROOT}:{root / 'src'}"))
    assert tool("mypy", "--config-file", settings, "src", "tests", cwd=root) == ""


def test_what_is_written_has_no_template_left_in_it(tmp_path: Path) -> None:
    _, *files = scaffold("heart-rate", tmp_path)
    for path in files:
        assert "$" not in str(path)
        assert "$" not in path.read_text()


@pytest.mark.parametrize("given", ["sonar", "a2a-sonar"])
def test_the_name_may_be_the_distributions(tmp_path: Path, given: str) -> None:
    root, *_ = scaffold(given, tmp_path / given)
    assert root == tmp_path / given / "a2a-sonar"
    assert '"sonar": "a2a_sonar.window:WindowEncoder"' in (root / "src/a2a_sonar/plugin.py").read_text()


@pytest.mark.parametrize(
    "given",
    ["", "Sonar", "so_nar", "-sonar", "sonar-", "so--nar", "1sonar", "so/nar", "../sonar", "sónar", "a2a-", "core", f"{LONG}x"],
)
def test_bad_names_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(A2AError, match="is no name for a plugin") as caught:
        scaffold(given, tmp_path)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("modality", ["", "Heart rate", '"', "a.b"])
def test_bad_modalities_are_refused(tmp_path: Path, modality: str) -> None:
    with pytest.raises(A2AError, match="is no modality"):
        scaffold("sonar", tmp_path, modality)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a2a-sonar").mkdir()
    (tmp_path / "a2a-ping").symlink_to("nowhere")
    for name in ("sonar", "ping"):
        with pytest.raises(A2AError, match="exists already"):
            scaffold(name, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a2a-ping", "a2a-sonar"]
    assert list((tmp_path / "a2a-sonar").iterdir()) == []


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "last", "$unknown")
    with pytest.raises(KeyError):
        scaffold("sonar", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(A2AError, match="nothing can be written into"):
        scaffold("sonar", tmp_path / "file")

"""Everything that is done to this repository: `nox -l` lists it. Plugins are found by looking into plugins/."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
TORCH = "torch==2.13.0"  # asked for together with all else: a later one brings gigabytes
PLAIN = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

nox.needs_version = ">=2025.5"
nox.options.sessions = ["tests", "lint", "types", "isolated"]
nox.options.reuse_venv = "yes"


def install(session: nox.Session, *more: str) -> None:
    """The core and every plugin, editable, in the versions that were tested together."""
    editable = [word for path in (ROOT, *PLUGINS) for word in ("-e", str(path))]
    session.install("-q", "-c", "constraints.txt", TORCH, *editable, *more)


def project(path: Path) -> dict[str, object]:
    """A pyproject's `[project]`."""
    table: dict[str, object] = tomllib.loads((path / "pyproject.toml").read_text())["project"]
    return table


def dev() -> list[str]:
    """What tests and checks need."""
    listed: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    return listed


@nox.session
def train(session: nox.Session) -> None:
    """Make the digits, train on them, print the result. `nox -s train -- --set trainer.epochs=1` passes options on."""
    install(session, "scikit-learn")
    example = ROOT / "examples" / "digits"
    session.run("python", str(example / "make_data.py"), "--out", str(example / "data"))
    session.run("a2a", "train", str(example / "recipe.toml"), *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def tests(session: nox.Session) -> None:
    """The whole test suite; `nox -s tests -- plugins/a2a-text -k embedding` runs a part."""
    install(session, *dev())
    workers = os.environ.get("A2A_TEST_WORKERS", str(min(4, os.cpu_count() or 1)))
    even = ("--dist", "worksteal")  # slow tests lie side by side: who is done takes some of them
    session.run("pytest", "-q", "-n", workers, *even, *session.posargs, env=PLAIN)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, the layers, the generated files."""
    install(session, *dev())
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    contracts = Path(session.create_tmp()) / "importlinter.ini"
    contracts.write_text(layers())
    session.run("lint-imports", "--config", str(contracts), "--no-cache")
    session.run("python", "docs/generate.py", "--check")
    session.run("python", "docs/house_rules.py")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strictly."""
    install(session, *dev())
    session.run("mypy")


@nox.session
def reference(session: nox.Session) -> None:
    """Write again what is generated from the code: the reference, the extras, the table of known names."""
    install(session)
    session.run("python", "docs/generate.py")


@nox.session
def isolated(session: nox.Session) -> None:
    """From built wheels: the core and one plugin at a time, none of the others, must pass that plugin's tests."""
    wheels = Path(session.create_tmp()).resolve() / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    session.install("-q", "-c", "constraints.txt", "build", "virtualenv", TORCH)
    for path in (ROOT, *PLUGINS):
        shutil.rmtree(path / "build", ignore_errors=True)  # setuptools would pack what an earlier build left
        session.run("python", "-m", "build", "-q", "--wheel", "--outdir", str(wheels), str(path), silent=True)
    core = next(wheels.glob("a2a_trainer-*.whl"))
    session.install("-q", "-c", "constraints.txt", "--force-reinstall", "--no-deps", str(core))
    session.install("-q", "-c", "constraints.txt", TORCH, str(core), *dev())
    wanted = [path for path in PLUGINS if not session.posargs or path.name in session.posargs]
    for path in wanted:
        alone(session, path, wheels)


def alone(session: nox.Session, path: Path, wheels: Path) -> None:
    """A new environment with the plugin, what it depends on, and the core's environment behind it."""
    home = Path(session.create_tmp()).resolve() / path.name
    shutil.rmtree(home, ignore_errors=True)
    session.run("virtualenv", "-q", str(home), silent=True)
    python = str(home / "bin" / "python")
    behind = session.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True)
    site = session.run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", silent=True, external=True)
    Path(str(site).strip(), "core.pth").write_text(str(behind))
    wheel = next(wheels.glob(f"{path.name.replace('-', '_')}-*.whl"))
    find = ("--find-links", str(wheels))
    session.run(python, "-m", "pip", "install", "-q", "-c", "constraints.txt", *find, str(wheel), external=True)
    session.run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path / "tests"), env=PLAIN, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark, or those named: each prints ratios against a peer measured in the same run."""
    install(session, *dev())
    names = session.posargs or [path.stem for path in sorted((ROOT / "benchmarks").glob("*.py"))]
    for name in names:
        session.run("python", f"benchmarks/{name}.py", env=PLAIN, success_codes=[0, 1])


def layers() -> str:
    """import-linter's contracts: the CLI over the core, plugins beside one another unless one depends on another."""
    packages = {path.name: next(each.parent.name for each in path.glob("src/*/__init__.py")) for path in PLUGINS}
    every = list(packages.values())
    contracts = [
        ("The core knows nobody", ["a2a_core"], ["a2a_cli", "click", "rich", *every]),
        ("Plugins do not know the command line", every, ["a2a_cli"]),
    ]
    for name, package in packages.items():
        declared = " ".join(map(str, project(ROOT / "plugins" / name).get("dependencies", [])))  # type: ignore[call-overload]
        others = [other for dist, other in packages.items() if dist != name and dist not in declared]
        contracts.append((f"{name} imports only what it declares", [package], others))
    text = ["[importlinter]", "include_external_packages = True", "root_packages =", *indented(["a2a_core", "a2a_cli", *every])]
    for place, (title, sources, forbidden) in enumerate(contracts):
        text += ["", f"[importlinter:contract:{place}]", f"name = {title}", "type = forbidden", "allow_indirect_imports = True"]
        text += ["source_modules =", *indented(sources), "forbidden_modules =", *indented(forbidden)]
    return "\n".join(text) + "\n"


def indented(names: list[str]) -> list[str]:
    """One a line, as ini lists are written."""
    return [f"    {name}" for name in names]

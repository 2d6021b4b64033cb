"""Checks of this repository that no linter has: the length and the names of files, licences, no machine's own paths."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST = 400
NAMELESS = re.compile(r"(^|/)(utils?|helpers?|common|misc)(\.py|/)")
PRIVATE = re.compile(r"(?<![\w.])/(?:root|home|work)/\w")


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wrong = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.is_file() or path.suffix not in {".py", ".md", ".toml", ".txt", ".yml"}:
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if path.suffix == ".py" and lines > LONGEST:
            wrong.append(f"{name} has {lines} lines, more than {LONGEST}")
        if NAMELESS.search(name):
            wrong.append(f"{name} has no name of its own")
        if PRIVATE.search(text) and path != Path(__file__):
            wrong.append(f"{name} names a path of one machine")
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        if "[tool.ruff" in path.read_text() or "[tool.mypy" in path.read_text():
            wrong.append(f"{path.relative_to(ROOT)} has tool settings: they live in the root's")
        if not (path.parent / "README.md").is_file():
            wrong.append(f"{path.parent.name} has no README.md")
    print("\n".join(wrong) or "the house rules are kept")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

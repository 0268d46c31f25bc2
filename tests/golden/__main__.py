"""`make golden`: the differences of every rendered text between HEAD and the working tree.

`python -m tests.golden write FOLDER` writes every text, `accept` the sums that the test compares.
Without an argument both trees are rendered and compared; ends with 1 where they differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.golden.texts import SUMS, sums, texts

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path) -> None:
    for name, text in texts().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def compare() -> int:
    with TemporaryDirectory(prefix="logstack-golden-") as scratch:
        folder = Path(scratch)
        tree = folder / "tree"
        tree.mkdir()
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x"], cwd=tree, input=archive, check=True)
        path = os.pathsep.join(map(str, (tree, tree / "logstack_django" / "src")))
        subprocess.run(
            [sys.executable, "-P", "-m", "tests.golden", "write", str(folder / "HEAD")],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": path},
            check=True,
        )
        write(folder / "now")
        return subprocess.run(["diff", "-ruN", "HEAD", "now"], cwd=folder, check=False).returncode


def main(words: list[str]) -> int:
    match words:
        case ["write", folder]:
            write(Path(folder))
        case ["accept"]:
            SUMS.write_text(sums(), encoding="utf-8")
        case []:
            return compare()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

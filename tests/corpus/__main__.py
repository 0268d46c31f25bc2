"""`python -m tests.corpus table`: writes what the agents cannot do into docs/corpus.md.

`count` prints how many cases each file has, `run promtail-loki [FILE]` the cases that come back
otherwise than they say, with what differs; FILE: those of one file (`pino`).
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.corpus.cases import load
from tests.corpus.compare import differences
from tests.corpus.run import fleet_of, is_read, run_cases
from tests.corpus.table import DOCUMENT, updated
from tests.support.native_stack import EVERY_COMBINATION


def run(name: str, file: str) -> int:
    """Whether all cases come back as they say; prints those that do not."""
    (combination,) = (found for found in EVERY_COMBINATION if str(found) == name)
    chosen = [
        case for case in load() if file in ("", case.file) and is_read(case, combination.agent)
    ]
    with (
        TemporaryDirectory(prefix="logstack-corpus-") as folder,
        fleet_of(combination, Path(folder)) as fleet,
    ):
        outcome = run_cases(fleet, chosen)
    failed = 0
    for case in chosen:
        if found := differences(case, outcome):
            failed += 1
            print(f"{case.id}\n    " + "\n    ".join(found))
    print(f"{failed} of {len(chosen)} cases come back otherwise")
    return min(failed, 1)


def main(words: list[str]) -> int:
    match words:
        case ["table"]:
            DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        case ["count"]:
            counts = Counter(case.file for case in load())
            for name, count in sorted(counts.items()):
                print(f"{count:4} {name}")
            print(f"{sum(counts.values()):4} in all")
        case ["run", name, *file] if name in map(str, EVERY_COMBINATION):
            return run(name, "".join(file))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m tests.corpus table`: writes what the agents cannot do into docs/corpus.md.

`count` prints how many cases each file has.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.corpus.cases import load
from tests.corpus.table import DOCUMENT, updated


def main(words: list[str]) -> int:
    match words:
        case ["table"]:
            DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        case ["count"]:
            counts = Counter(case.file for case in load())
            for name, count in sorted(counts.items()):
                print(f"{count:4} {name}")
            print(f"{sum(counts.values()):4} in all")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs the measurements one after the other; see each module for what it measures."""

from __future__ import annotations

import importlib
import sys

QUICK = ("native", "burst", "library")
ALL = (*QUICK, "archive", "cold", "hosts")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.stderr.write(f"wanted some of {', '.join(ALL)}, found {', '.join(unknown)}\n")
        return 2
    statuses = [importlib.import_module(f"bench.{name}").main() for name in names or QUICK]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs the measurements one after the other; each module says what it measures."""

from __future__ import annotations

import importlib
import sys

QUICK = ("native", "burst", "library")
ALL = (*QUICK, "archive", "cold", "hosts")


def main(names: list[str]) -> int:
    """Run the named measurements, or the quick ones; the exit status, 2 for an unknown name."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.stderr.write(f"bench: expected names from {', '.join(ALL)}, got {', '.join(unknown)}\n")
        return 2
    statuses = [importlib.import_module(f"bench.{name}").main() for name in names or QUICK]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

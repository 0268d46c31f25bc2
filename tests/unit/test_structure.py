"""The structure of the code: how many files know of one program, and how long code may be.

A new engine or component must not touch the others: `python -m
tests.unit.test_structure` prints the counts and the files.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("stack", "dashboards", "provisioning", "bench")
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60  # lines
# A comparison with the name of an engine, or a choice by one.
BRANCH = re.compile(
    r"""(engine(\.name)?|kind\.name)\s*(==|!=)\s*["']|["'](loki|victorialogs)["']\s*=="""
)
# What is counted, the pattern of a line, and in how many files it may stand.
COUNTED = {
    "branches on the engine's name": (BRANCH, 3),
    "files that name vmalert": (re.compile(r"\bvmalert\b"), 4),
}


def lines() -> Iterator[tuple[str, str]]:
    """Every line of code, without comments and docstrings' lines, with its file."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = re.sub(r'"""(?s:.*?)"""', "", path.read_text(encoding="utf-8"))
            for line in text.splitlines():
                yield str(path.relative_to(ROOT)), line.partition("#")[0]


def files_with(pattern: re.Pattern[str]) -> list[str]:
    return sorted({path for path, line in lines() if pattern.search(line)})


@pytest.mark.parametrize("what", COUNTED)
def test_few_files_know_of_one_program(what: str) -> None:
    pattern, limit = COUNTED[what]
    found = files_with(pattern)
    assert len(found) <= limit, f"{what}: {len(found)} files: {', '.join(found)}"


def test_no_module_and_no_function_is_too_long() -> None:
    """Split them by subject."""
    too_long = []
    for folder in (*SOURCES, "logstack_django", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name, text = path.relative_to(ROOT), path.read_text(encoding="utf-8")
            if (length := len(text.splitlines())) > LONGEST_MODULE:
                too_long.append(f"{name}: {length} lines, at most {LONGEST_MODULE}")
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    if length > LONGEST_FUNCTION:
                        too_long.append(f"{name} {node.name}: {length}, at most {LONGEST_FUNCTION}")
    assert too_long == []


if __name__ == "__main__":
    for name, (regex, most) in COUNTED.items():
        known = files_with(regex)
        sys.stdout.write(f"{name}: {len(known)} (at most {most}): {', '.join(known)}\n")

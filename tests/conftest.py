"""Fixtures that tests of several folders use, which tests are slow, and which run in one process.

`make test` leaves out the tests with one of the markers of SLOW; `make test-all` runs all. Tests
that share what is started for a module or a session are a group: pytest-xdist runs a group in one
of its processes, so that it is started once.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.watcher import watch_this_process

pytest_plugins = ["tests.support.engines"]

# A runner that was started with `nohup` or by a script with `&` ignores SIGINT, and so would every
# program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
watch_this_process()

# The markers of tests that only `make test-all` runs, as the Makefile has them.
SLOW = ("hosts", "docker", "loki", "own_stack", "browser")
# Each takes the longest, so the others are run beside it.
FIRST = ("hosts", "docker")
LEFT_OUT = pytest.StashKey[Counter[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if marker := slow_marker(item):
            item.add_marker(marker)
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: rank_of(folder_of(item)))


def slow_marker(item: pytest.Item) -> str:
    """Why `make test` leaves this test out, unless it says so itself."""
    folder, combination = folder_of(item), parameter(item, "combination")
    if folder in FIRST:
        return folder
    if parameter(item, "evaluator") == "loki" or "loki" in {
        *fixtures(item),
        getattr(combination, "engine", ""),
    }:
        return "loki"
    return "own_stack" if "own_stack" in fixtures(item) else ""


def group_of(item: pytest.Item) -> str:
    """What this test shares with others; empty: nothing that is started."""
    folder = folder_of(item)
    if folder in FIRST:
        # A host that restarts keeps its address only while no other container comes or goes.
        return "containers"
    combination = parameter(item, "combination") or ""
    if "stack" in fixtures(item):
        return f"stack-{combination}"
    if {"victorialogs", "evaluator"} & set(fixtures(item)):
        return f"engine-{parameter(item, 'evaluator') or 'victorialogs'}"
    if "loki" in fixtures(item):
        return "engine-loki"
    return f"{item.path.stem}-{combination}" if has_module_fixture(item) else ""


def has_module_fixture(item: pytest.Item) -> bool:
    """Whether it uses a fixture of its own module that several tests share."""
    known = getattr(item, "_fixtureinfo", None)
    definitions = known.name2fixturedefs.values() if known else ()
    module = item.nodeid.partition("::")[0]
    return any(
        found[-1].baseid == module and found[-1].scope in ("module", "session")
        for found in definitions
    )


def fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


def parameter(item: pytest.Item, name: str) -> Any:
    """The value that a test is parametrized with, or None."""
    call = getattr(item, "callspec", None)
    return call.params.get(name) if call else None


def folder_of(item: pytest.Item) -> str:
    """`hosts` of tests/hosts/test_links.py."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


def rank_of(folder: str) -> int:
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


# --- What was left out, by marker: pytest-xdist's own summary does not count it


def pytest_deselected(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if marker := next(filter(item.get_closest_marker, SLOW), None):
            item.config.stash.setdefault(LEFT_OUT, Counter())[marker] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # in one of the processes
        left_out = session.config.stash.get(LEFT_OUT, Counter())
        session.config.workeroutput["left_out"] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process has ended. Each of them left out the same tests."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[LEFT_OUT] = Counter(output.get("left_out", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if left_out := config.stash.get(LEFT_OUT, Counter()):
        counts = ", ".join(f"{count} {marker}" for marker, count in left_out.most_common())
        terminalreporter.section("left out by marker (make test-all runs them)")
        terminalreporter.line(counts)

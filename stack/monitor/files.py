"""The log files that the agent is to read: whether there are any, and whether it may read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

from stack.common.counted import counted
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Files, Plan
from stack.monitor.view import View

SHOWN = 3  # files that a message names
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")


def matching(pattern: str) -> set[str]:
    """The files that a pattern of the agent matches: with `**`, `[a-z]`, `{a,b}` and `\\*`."""
    alternatives = _ALTERNATIVES.search(pattern)
    if alternatives:
        start, end = alternatives.span()
        words = alternatives[1].split(",")
        return set().union(*(matching(pattern[:start] + word + pattern[end:]) for word in words))
    spelled = re.sub(r"\\(.)", lambda found: f"[{found[1]}]", pattern)
    found = glob(spelled, recursive=True)  # noqa: PTH207 -- the pattern is absolute
    return {path for path in found if Path(path).is_file()}


def look(view: View) -> Iterator[Observation]:
    """One observation of the agent."""
    if not view.plan.files:
        return
    problems, watched = examine(view.plan)
    yield Observation(view.plan.agent, values={"files": watched}, problems=tuple(problems))


def examine(plan: Plan) -> tuple[list[Problem], int]:
    """The problems with the log files, and how many files the agent can read."""
    problems: list[Problem] = []
    seen: dict[str, Files] = {}
    watched = 0
    for entry in plan.files:
        excluded = set().union(*map(matching, entry.excluded)) if entry.excluded else set()
        found = matching(entry.patterns[0])
        if entry.expected and (doubled := sorted(path for path in found if path in seen)):
            problems.append(_matched_twice(entry, seen[doubled[0]], doubled))
        rotated = set().union(*map(matching, entry.patterns))
        seen |= dict.fromkeys(rotated - seen.keys(), entry)
        links = {p for p in found - excluded if not plan.links and Path(p).is_symlink()}
        unreadable = {p for p in found - excluded - links if not os.access(p, os.R_OK)}
        watched += len(found - excluded - links - unreadable)
        if links:
            why = "the agent of a host follows no links"
            problems.append(_refused(entry, sorted(links), why, "symbolic links"))
        if unreadable:
            problems.append(_refused(entry, sorted(unreadable), "", "permission denied"))
        elif (closed := _closed_folder(entry.patterns[0])) is not None:
            problems.append(
                Problem(
                    "file_refused",
                    f"the folder of the log files of {entry.service} cannot be read",
                    f"permission denied: {closed}",
                    f"ls -ld {closed}",
                    entry.service,
                )
            )
        elif not found and entry.expected:
            problems.append(
                Problem(
                    "no_files",
                    f"no log file of {entry.service} exists",
                    f"{entry.patterns[0]} matches nothing{_first_missing(entry.patterns[0])}",
                    f"ls -l {_fixed(entry.patterns[0])}",
                    entry.service,
                )
            )
    return problems, watched


def _matched_twice(entry: Files, first: Files, doubled: list[str]) -> Problem:
    verb = "matches" if len(doubled) == 1 else "match"
    return Problem(
        "file_matched_twice",
        f"{counted(len(doubled), 'file')} of {entry.service} also {verb} an earlier entry, read as "
        f"{first.service} alone",
        f"{entry.patterns[0]} and {first.patterns[0]}: {', '.join(doubled[:SHOWN])}",
        "./logstack settings",
        entry.service,
        note=True,
    )


def _refused(entry: Files, paths: list[str], why: str, evidence: str) -> Problem:
    text = f"{counted(len(paths), 'log file')} of {entry.service} cannot be read"
    return Problem(
        "file_refused",
        f"{text}: {why}" if why else text,
        f"{evidence}: {', '.join(paths[:SHOWN])}",
        f"ls -l {paths[0]}",
        entry.service,
    )


def _fixed(pattern: str) -> Path:
    """The folder of a pattern, as far as it is a literal one."""
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if has_magic(part) or "{" in part or "\\" in part:
            break
        parts.append(part)
    return Path(*parts)


def _closed_folder(pattern: str) -> Path | None:
    """The first folder of a pattern that exists and that this user may not enter or list."""
    folder = _fixed(pattern)
    for path in (*reversed(folder.parents), folder):
        try:
            path.stat()
        except PermissionError:
            return path.parent
        except OSError:
            return None
        last = path == folder
        if not os.access(path, os.X_OK | (os.R_OK if last and has_magic(pattern) else 0)):
            return path
    return None


def _first_missing(pattern: str) -> str:
    folder = _fixed(pattern)
    missing = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    return f": there is no folder {missing[0]}" if missing else ""
